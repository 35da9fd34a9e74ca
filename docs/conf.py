"""Sphinx: the guides of this folder, and an API reference made from the docstrings.

`make docs` builds it into docs/_build, and takes any warning for an error.
"""

from sotglp_mm import __version__

project = 'sotglp_mm'
author = 'the sotglp_mm contributors'
copyright = author
release = __version__

extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode', 'myst_parser']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'sotglp_mm {release}'
myst_heading_anchors = 3

# parts are documented where they are used from: the package, not the file
add_module_names = False
autodoc_inherit_docstrings = False  # MMEngine's are of MMEngine
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_use_rtype = False
