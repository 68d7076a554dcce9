"""Load generator: many MQTT connections with windows of pre-encoded PUBLISHes, every acknowledgement accounted for.

    run_load(LoadOptions(...)) -> LoadReport      blocking; give it a thread or a process of its own

Theory of operation: each connection owns a ring of encoded PUBLISH packets of one size with packet ids 1..R, and the
bytes of the acknowledgements that must come back are a second ring. Sending is a slice of the first, checking is one
comparison with the second: at large windows this costs well below a microsecond a message, so that the generator is not
what is measured. Anything that does not compare equal goes through a parser that knows every packet.
"""

from device_fw_sim.load.generator import run_load
from device_fw_sim.load.options import Credential, LoadOptions
from device_fw_sim.load.report import LoadReport

__all__ = ["Credential", "LoadOptions", "LoadReport", "run_load"]
