"""What runs inside Locust: users that send and check, and the recorder of what they saw.

A scenario imports its user class from here and says what is sent and what is expected.
"""

from harness.load.http import Exchange, HttpUser
from harness.load.poll import PollUser
from harness.load.websocket import WebSocketUser

__all__ = ["Exchange", "HttpUser", "PollUser", "WebSocketUser"]
