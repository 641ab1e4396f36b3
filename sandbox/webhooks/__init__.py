"""One POST and its outcome; what is wrong with an application's address.

In the order in which they may import each other: lookup, poster, diagnosis, doctor.
"""
