"""`oneprotect bench`: the product's own figures, measured on this machine with real processes.

Web, workers, receiver and load generator are processes of their own on loopback; the database is
made for the run and dropped after it. The front door is `measurement.run`: this file imports
nothing, because the receiver's process should hold nothing that it does not need.
"""
