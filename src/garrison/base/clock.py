"""Time as an argument: whoever needs the time takes a `Clock`, so that tests can hold it still."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since the Unix epoch, UTC. RFC 7519's NumericDate is its integer part."""

system_clock: Clock = time.time
