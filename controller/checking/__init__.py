"""Every length in a message from a switch, checked before the framework's parser sees a byte."""

from controller.checking.foreign import hide_nicira_actions
from controller.checking.messages import check_message
from controller.checking.packet_in import PacketInPlace, check_packet_in

__all__ = ["PacketInPlace", "check_message", "check_packet_in", "hide_nicira_actions"]
