"""What every package uses: checked settings, the check of the installation."""
