"""An app that cannot be imported, to see what a server does about it."""

raise RuntimeError("this app cannot be imported")
