"""What commands and users call."""

from .read_config import read_config
from .share_settings import share_settings

__all__ = ['read_config', 'share_settings']
