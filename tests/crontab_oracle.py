"""Answers for schedules_mean_what_crontab_says.rs, by cronsim: an implementation of Debian's cron that is not ours.

A line `EXPRESSION <tab> ZONE <tab> START <tab> COUNT` gives a line of moments after START, in seconds since 1970,
or `refused`.
"""

import itertools
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


def answer(expression, zone, start, count):
    tz = timezone.utc if zone == "UTC" else ZoneInfo(zone)
    try:
        moments = CronSim(expression, datetime.fromtimestamp(int(start), tz))
    except CronSimError:
        return "refused"
    return " ".join(f"{moment.timestamp():.0f}" for moment in itertools.islice(moments, int(count)))


for line in sys.stdin:
    print(answer(*line.rstrip("\n").split("\t")))
