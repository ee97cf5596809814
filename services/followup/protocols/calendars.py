"""The days a protocol does not count: federal holidays as observed, and the practice's own closures.

The one file that imports `holidays`. Promise: `us-federal` is the list of 5 U.S.C. 6103 and nothing else: a holiday
on a Saturday is observed on the Friday before (1 January then on 31 December of the year before), one on a Sunday
on the Monday after; no state holidays, no Inauguration Day (the District of Columbia only) and no day of mourning
or half holiday that a President proclaims. The tests compute the same list by rule and compare every year.
"""

from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from typing import Final

import holidays

from services.followup.domain.protocol_rules import BusinessDays, HolidayTable
from services.followup.domain.working_time import Calendar

# From the Uniform Monday Holiday Act taking effect to the last year that the package knows; outside of it the
# package answers with no holidays at all, and a deadline would silently be early.
HOLIDAY_YEARS: Final = range(1971, 2101)


@lru_cache(maxsize=len(HOLIDAY_YEARS))
def us_federal_holidays(year: int) -> frozenset[date]:
    """Return the days of `year` on which federal holidays fall or are observed.

    Raises:
        ValueError: the year is outside `HOLIDAY_YEARS`.
    """
    if year not in HOLIDAY_YEARS:
        known = f"{HOLIDAY_YEARS.start} to {HOLIDAY_YEARS.stop - 1}"
        raise ValueError(f"federal holidays are known for {known}, not for {year}")
    return frozenset(holidays.country_holidays("US", years=year, observed=True))


def calendar_for(business_days: BusinessDays, closures: Iterable[date] = ()) -> Calendar:
    """Return the calendar that a protocol counts with; `closures` are the practice's own closed days.

    Whether closures move a deadline is the protocol's choice (`business_days.closures_count`). Transitional care
    lets them, reading "except holidays" as a table that the practice may add to (domain.md §1.1); a practice that
    reads CMS more strictly sets `closures: ignored` in the protocol, and closures then only bring `work_by` forward.
    """
    return Calendar(
        holidays_of=_HOLIDAY_TABLES[business_days.holidays],
        closures=frozenset(closures),
        closures_count=business_days.closures_count,
    )


def _no_holidays(_year: int) -> frozenset[date]:
    return frozenset()


_HOLIDAY_TABLES: Final[dict[HolidayTable, Callable[[int], frozenset[date]]]] = {
    "us-federal": us_federal_holidays,
    "none": _no_holidays,
}
