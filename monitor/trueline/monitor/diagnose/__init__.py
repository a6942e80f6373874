"""The ten-minute diagnosis: what is stored of one identity, judged by one check after the other.

gather     reads the facts from the store; with lineage the only part that does I/O
lineage    the part of it that is about derived tables
facts      what is known, as values
checks/    one question each: a pure function from facts to a check with its evidence
judge      runs them and says in one line which it is
progress   how far "try again now" has come, for --follow
probe      the place for live looks at an application's own database
"""
