"""Apache and mod_wsgi: `python -P mod_wsgi_server.py APP OPTION...`, options of mod_wsgi-express.

Apache started by root gives its workers to another user, who cannot read a Python, app or folder
that is root's alone. So we become that user first and keep only root's right to files; to
anyone else nothing happens.
"""

import os
import sys

target, *options = sys.argv[1:]
module, _, name = target.partition(":")
command = ["mod_wsgi-express", "start-server", module, "--application-type", "module"]
command += ["--callable-object", name, *options]
if os.geteuid() == 0:
    rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    rights += ["--securebits=+no_setuid_fixup"]
    command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *rights, *command]
os.execvp(command[0], command)
