"""What runs inside Locust: users that send and check, and the recorder of what they saw.

A scenario imports its user class from here and says what is sent and what is expected.
Importing this imports Locust, which monkey-patches the process: gatebench itself never does.
"""

from harness.load.exchange import Exchange
from harness.load.http import HttpUser
from harness.load.poll import PollUser
from harness.load.push import EventUser, TickUser
from harness.load.websocket import WebSocketUser

__all__ = ["EventUser", "Exchange", "HttpUser", "PollUser", "TickUser", "WebSocketUser"]
