"""What depends on the Python process: the package's own files, and whether threads are replaced by greenlets.

In the order in which they may import each other: package_files, greenlets.
"""
