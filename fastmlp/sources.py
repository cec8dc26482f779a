"""Any table as a `Source`; the public names of `fastmlp.tables`."""

from fastmlp.tables.source import NUMBER as NUMBER
from fastmlp.tables.source import TEXT as TEXT
from fastmlp.tables.source import Source as Source
from fastmlp.tables.sources import open_source as open_source
