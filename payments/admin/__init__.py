"""The books of the payments app: everything is read here, nothing is written.

The one act is to process a notice again, and that is the inbox's own.
"""
