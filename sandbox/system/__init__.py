"""What the process offers: the package's own files, and whether its threads are threads.

In the order in which they may import each other: package_files, greenlets.
"""
