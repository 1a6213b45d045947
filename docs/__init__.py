"""The documentation: its pages, and the modules that build the site from them."""
