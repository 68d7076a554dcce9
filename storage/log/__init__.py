"""The log: blocks in segments, one writer, any number of readers. Why it is as it is: DESIGN.md here."""

from storage.log.block import Block
from storage.log.disk import Disk, OsDisk
from storage.log.head import Head
from storage.log.reader import LogReader
from storage.log.signer import Signer
from storage.log.statistics import LogWriterStatistics
from storage.log.writer import LogWriter

__all__ = [
    "Block",
    "Disk",
    "Head",
    "LogReader",
    "LogWriter",
    "LogWriterStatistics",
    "OsDisk",
    "Signer",
]
