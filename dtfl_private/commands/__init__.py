"""What the commands do, as functions: ``train``, ``profile``, ``plan``, and the tables of ``list``."""
