"""What the owner of an application declares once, in one file that services and monitor both read.

Nothing is imported here: a service without a file loads only what looks for one (``place``, ``service``).
"""
