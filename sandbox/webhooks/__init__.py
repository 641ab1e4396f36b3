"""The webhook client: one POST and its outcome; diagnosis of an application's address.

In the order in which they may import each other: lookup, poster, diagnosis, doctor.
"""
