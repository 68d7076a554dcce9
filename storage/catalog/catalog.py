"""The catalog: devices, tokens, users, settings and the outbox over one SQLite connection.

Synchronous. In an event loop use AsyncCatalog, which lends one of these to a function in a thread.
"""

from __future__ import annotations

from storage.catalog.alarm_devices import AlarmDeviceTable
from storage.catalog.alarm_lists import AlarmListTable
from storage.catalog.alarm_surroundings import AlarmSurroundingsTable
from storage.catalog.alarms import AlarmTable
from storage.catalog.alarms_told import AlarmsToldTable
from storage.catalog.archived_days import ArchivedDayTable
from storage.catalog.artifact_keys import ArtifactKeyTable
from storage.catalog.artifact_uploads import ArtifactUploadTable
from storage.catalog.artifacts import ArtifactTable
from storage.catalog.audit import AuditTable
from storage.catalog.backups import BackupTable
from storage.catalog.commands import CommandTable
from storage.catalog.device_firmware import DeviceFirmwareTable
from storage.catalog.device_import import DeviceImportTable
from storage.catalog.erasures import ErasureTable
from storage.catalog.escalations import EscalationTable
from storage.catalog.execution_terms import ExecutionTermsTable
from storage.catalog.first_contacts import FirstContactTable
from storage.catalog.homes import HomeTable
from storage.catalog.idempotent_answers import IdempotentAnswerTable
from storage.catalog.maintenances import MaintenanceTable
from storage.catalog.mappings import MappingTable
from storage.catalog.merging import MergingTable
from storage.catalog.notification_targets import NotificationTargetTable
from storage.catalog.notifications import NotificationTable
from storage.catalog.on_call_lists import OnCallListTable
from storage.catalog.outbox import OutboxTable
from storage.catalog.people import PeopleTable
from storage.catalog.replays import ReplayTable
from storage.catalog.retention_classes import RetentionClassTable
from storage.catalog.rollout_executions import RolloutExecutionTable
from storage.catalog.rollout_targets import RolloutTargetTable
from storage.catalog.rules import RuleTable
from storage.catalog.settings import SettingTable
from storage.catalog.twins import TwinTable
from storage.catalog.update_numbers import UpdateNumbersTable


class Catalog(
    MergingTable,
    AlarmTable,
    AlarmListTable,
    AlarmDeviceTable,
    AlarmSurroundingsTable,
    MaintenanceTable,
    UpdateNumbersTable,
    FirstContactTable,
    DeviceImportTable,
    PeopleTable,
    SettingTable,
    RetentionClassTable,
    ErasureTable,
    ArchivedDayTable,
    IdempotentAnswerTable,
    MappingTable,
    BackupTable,
    ReplayTable,
    ArtifactTable,
    ArtifactUploadTable,
    ArtifactKeyTable,
    TwinTable,
    CommandTable,
    RolloutExecutionTable,
    RolloutTargetTable,
    RuleTable,
    NotificationTargetTable,
    OnCallListTable,
    EscalationTable,
    NotificationTable,
    AlarmsToldTable,
    AuditTable,
    ExecutionTermsTable,
    DeviceFirmwareTable,
    OutboxTable,
    HomeTable,
):
    """All tables' methods; `Catalog.open` or `Catalog.open_read_only` make one."""
