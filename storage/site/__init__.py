"""The streams of all nodes of a site, read as one log. Why it is as it is: DESIGN.md here."""

from storage.site.order import SiteOrder
from storage.site.reader import SiteReader

__all__ = ["SiteOrder", "SiteReader"]
