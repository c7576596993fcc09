"""All tables as the second revision has them on SQLite: where a database on PostgreSQL begins."""

from __future__ import annotations

from typing import Final

from alembic import op

from slotmeter.storage.migrations.guards import FUNCTION, guard, make_guard_function

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY: Final = (
    *("act", "command_log", "event", "journal", "notice", "posting"),
    *("account_terms", "debt_log", "receipt_print"),
)
"""Tables whose rows are never changed nor removed."""

BUSY: Final = ("id_block", "ledger_account", "sequence")
"""Few rows that every sale changes: room on their pages lets each new state of a row lie beside the
old one, without a new entry in any index."""

# The server looks each reference up by a statement of its own, for rows that are added and for rows
# that one transaction changes more than once. A sale adds thirty rows and moves a dozen balances;
# those do without a reference to their utility; most of them hang on rows that have one.
TABLES: Final = """
CREATE TABLE cursor (
    name TEXT NOT NULL,
    position BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    CONSTRAINT pk_cursor PRIMARY KEY (name)
);
CREATE TABLE frame (
    id BIGINT NOT NULL,
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    path TEXT NOT NULL,
    payload BYTEA NOT NULL,
    received_us BIGINT NOT NULL,
    CONSTRAINT pk_frame PRIMARY KEY (id)
);
CREATE TABLE id_block (
    name TEXT NOT NULL,
    next_id BIGINT NOT NULL,
    CONSTRAINT pk_id_block PRIMARY KEY (name)
);
CREATE TABLE utility (
    id BIGINT NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    currency TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    tax_number TEXT NOT NULL,
    address TEXT NOT NULL,
    policy TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_utility PRIMARY KEY (id),
    CONSTRAINT uq_utility_code UNIQUE (code)
);
CREATE TABLE act (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    principal_id BIGINT,
    api_key_id BIGINT,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    data TEXT NOT NULL,
    CONSTRAINT pk_act PRIMARY KEY (id)
);
CREATE INDEX ix_act_utility_id_at_us ON act (utility_id, at_us);
CREATE TABLE branch (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT pk_branch PRIMARY KEY (id),
    CONSTRAINT uq_branch_utility_id_code UNIQUE (utility_id, code),
    CONSTRAINT fk_branch_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id)
);
CREATE TABLE customer (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    phone TEXT NOT NULL,
    address TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_customer PRIMARY KEY (id),
    CONSTRAINT uq_customer_utility_id_number UNIQUE (utility_id, number),
    CONSTRAINT fk_customer_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id)
);
CREATE TABLE customer_class (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    title TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_customer_class PRIMARY KEY (id),
    CONSTRAINT uq_customer_class_utility_id_code UNIQUE (utility_id, code),
    CONSTRAINT fk_customer_class_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id)
);
CREATE TABLE ledger_account (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    kind TEXT NOT NULL,
    currency TEXT NOT NULL,
    balance_minor BIGINT NOT NULL,
    reserved_minor BIGINT NOT NULL,
    limit_minor BIGINT,
    CONSTRAINT pk_ledger_account PRIMARY KEY (id),
    CONSTRAINT uq_ledger_account_utility_id_code UNIQUE (utility_id, code)
);
CREATE TABLE meter (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    number TEXT NOT NULL,
    commodity TEXT NOT NULL,
    credit_mode TEXT NOT NULL,
    purchase_max_minor BIGINT,
    parameters TEXT,
    key_id TEXT,
    state TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    transfer TEXT DEFAULT 'units' NOT NULL,
    CONSTRAINT pk_meter PRIMARY KEY (id),
    CONSTRAINT uq_meter_utility_id_number UNIQUE (utility_id, number),
    CONSTRAINT fk_meter_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id)
);
CREATE TABLE quarantine (
    frame_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    CONSTRAINT pk_quarantine PRIMARY KEY (frame_id),
    CONSTRAINT fk_quarantine_frame_id FOREIGN KEY(frame_id) REFERENCES frame (id)
);
CREATE TABLE sequence (
    utility_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    next_value BIGINT NOT NULL,
    CONSTRAINT pk_sequence PRIMARY KEY (utility_id, name)
);
CREATE TABLE tariff (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    title TEXT NOT NULL,
    commodity TEXT NOT NULL,
    currency TEXT NOT NULL,
    CONSTRAINT pk_tariff PRIMARY KEY (id),
    CONSTRAINT uq_tariff_utility_id_code UNIQUE (utility_id, code),
    CONSTRAINT fk_tariff_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id)
);
CREATE TABLE account (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    number TEXT NOT NULL,
    currency TEXT NOT NULL,
    critical_until_us BIGINT,
    critical_reason TEXT,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_account PRIMARY KEY (id),
    CONSTRAINT uq_account_utility_id_number UNIQUE (utility_id, number),
    CONSTRAINT fk_account_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_account_customer_id FOREIGN KEY(customer_id) REFERENCES customer (id)
);
CREATE TABLE alarm (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    text TEXT NOT NULL,
    raised_us BIGINT NOT NULL,
    cleared_us BIGINT,
    CONSTRAINT pk_alarm PRIMARY KEY (id),
    CONSTRAINT fk_alarm_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_alarm_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id)
);
CREATE INDEX ix_alarm_meter_id_kind_cleared_us ON alarm (meter_id, kind, cleared_us);
CREATE INDEX ix_alarm_utility_id_cleared_us ON alarm (utility_id, cleared_us);
CREATE TABLE device (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    driver TEXT NOT NULL,
    last_contact_us BIGINT,
    measured_us BIGINT,
    received_us BIGINT,
    supply TEXT NOT NULL,
    register BIGINT,
    credit_balance BIGINT,
    credit_total BIGINT,
    credit_proven BIGINT,
    credit_baseline_us BIGINT,
    tamper BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_device PRIMARY KEY (id),
    CONSTRAINT uq_device_medium_address UNIQUE (medium, address),
    CONSTRAINT uq_device_meter_id UNIQUE (meter_id),
    CONSTRAINT fk_device_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_device_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id)
);
CREATE TABLE notice (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    route TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    CONSTRAINT pk_notice PRIMARY KEY (id),
    CONSTRAINT fk_notice_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id)
);
CREATE INDEX ix_notice_meter_id_at_us ON notice (meter_id, at_us);
CREATE TABLE principal (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    branch_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    disabled_us BIGINT,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_principal PRIMARY KEY (id),
    CONSTRAINT uq_principal_utility_id_name UNIQUE (utility_id, name),
    CONSTRAINT fk_principal_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_principal_branch_id FOREIGN KEY(branch_id) REFERENCES branch (id)
);
CREATE TABLE account_block (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    principal_id BIGINT NOT NULL,
    from_us BIGINT NOT NULL,
    released_us BIGINT,
    released_by BIGINT,
    release_reason TEXT,
    CONSTRAINT pk_account_block PRIMARY KEY (id),
    CONSTRAINT fk_account_block_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_account_block_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_account_block_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id),
    CONSTRAINT fk_account_block_released_by FOREIGN KEY(released_by) REFERENCES principal (id)
);
CREATE INDEX ix_account_block_account_id_released_us ON account_block (account_id, released_us);
CREATE TABLE account_class (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    class_code TEXT,
    from_us BIGINT NOT NULL,
    reason TEXT NOT NULL,
    principal_id BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_account_class PRIMARY KEY (id),
    CONSTRAINT fk_account_class_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_account_class_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_account_class_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_account_class_account_id_from_us ON account_class (account_id, from_us);
CREATE TABLE account_terms (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    terms TEXT NOT NULL,
    from_us BIGINT NOT NULL,
    meter_id BIGINT,
    register BIGINT,
    settlement TEXT,
    reason TEXT NOT NULL,
    principal_id BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_account_terms PRIMARY KEY (id),
    CONSTRAINT fk_account_terms_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_account_terms_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_account_terms_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id),
    CONSTRAINT fk_account_terms_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_account_terms_account_id_from_us ON account_terms (account_id, from_us);
CREATE TABLE api_key (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    principal_id BIGINT NOT NULL,
    label TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    rights TEXT,
    created_us BIGINT NOT NULL,
    expires_us BIGINT,
    revoked_us BIGINT,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT fk_api_key_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_api_key_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id),
    CONSTRAINT uq_api_key_sha256 UNIQUE (sha256)
);
CREATE TABLE debt (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    number TEXT NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    priority BIGINT NOT NULL,
    plan TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    tax_percent TEXT,
    interest TEXT,
    state TEXT NOT NULL,
    starts_us BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    ledger_account_id BIGINT NOT NULL,
    CONSTRAINT pk_debt PRIMARY KEY (id),
    CONSTRAINT uq_debt_utility_id_number UNIQUE (utility_id, number),
    CONSTRAINT uq_debt_ledger_account_id UNIQUE (ledger_account_id),
    CONSTRAINT fk_debt_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_debt_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_debt_ledger_account_id
        FOREIGN KEY(ledger_account_id) REFERENCES ledger_account (id)
);
CREATE INDEX ix_debt_account_id_state ON debt (account_id, state);
CREATE INDEX ix_debt_utility_id_state ON debt (utility_id, state);
CREATE TABLE event (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    meter_id BIGINT,
    principal_id BIGINT,
    text TEXT NOT NULL,
    data TEXT NOT NULL,
    CONSTRAINT pk_event PRIMARY KEY (id),
    CONSTRAINT fk_event_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id),
    CONSTRAINT fk_event_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_event_meter_id_id ON event (meter_id, id);
CREATE INDEX ix_event_utility_id_id ON event (utility_id, id);
CREATE TABLE free_registration (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    from_us BIGINT NOT NULL,
    until_us BIGINT,
    evidence TEXT NOT NULL,
    principal_id BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    ended_us BIGINT,
    CONSTRAINT pk_free_registration PRIMARY KEY (id),
    CONSTRAINT fk_free_registration_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_free_registration_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_free_registration_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_free_registration_account_id_code ON free_registration (account_id, code);
CREATE TABLE supply_point (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    tariff_id BIGINT NOT NULL,
    number TEXT NOT NULL,
    commodity TEXT NOT NULL,
    area TEXT NOT NULL,
    address TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    connection TEXT,
    load_w BIGINT,
    CONSTRAINT pk_supply_point PRIMARY KEY (id),
    CONSTRAINT uq_supply_point_utility_id_number UNIQUE (utility_id, number),
    CONSTRAINT fk_supply_point_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_supply_point_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_supply_point_tariff_id FOREIGN KEY(tariff_id) REFERENCES tariff (id)
);
CREATE INDEX ix_supply_point_account_id ON supply_point (account_id);
CREATE TABLE tariff_version (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    tariff_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    valid_from_us BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    source TEXT,
    author_id BIGINT,
    approver_id BIGINT,
    approved_us BIGINT,
    withdrawn_us BIGINT,
    CONSTRAINT pk_tariff_version PRIMARY KEY (id),
    CONSTRAINT uq_tariff_version_tariff_id_version UNIQUE (tariff_id, version),
    CONSTRAINT fk_tariff_version_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_tariff_version_tariff_id FOREIGN KEY(tariff_id) REFERENCES tariff (id),
    CONSTRAINT fk_tariff_version_author_id FOREIGN KEY(author_id) REFERENCES principal (id),
    CONSTRAINT fk_tariff_version_approver_id FOREIGN KEY(approver_id) REFERENCES principal (id)
);
CREATE INDEX ix_tariff_version_tariff_id_valid_from_us ON tariff_version (tariff_id, valid_from_us);
CREATE TABLE charge (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    supply_point_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    period TEXT NOT NULL,
    due_minor BIGINT NOT NULL,
    taken_minor BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    CONSTRAINT pk_charge PRIMARY KEY (id),
    CONSTRAINT uq_charge_supply_point_id_code_period UNIQUE (supply_point_id, code, period),
    CONSTRAINT fk_charge_supply_point_id FOREIGN KEY(supply_point_id) REFERENCES supply_point (id)
);
CREATE TABLE debt_log (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    debt_id BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    principal_id BIGINT,
    CONSTRAINT pk_debt_log PRIMARY KEY (id),
    CONSTRAINT fk_debt_log_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_debt_log_debt_id FOREIGN KEY(debt_id) REFERENCES debt (id),
    CONSTRAINT fk_debt_log_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_debt_log_debt_id ON debt_log (debt_id);
CREATE TABLE installation (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    supply_point_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    from_us BIGINT NOT NULL,
    to_us BIGINT,
    CONSTRAINT pk_installation PRIMARY KEY (id),
    CONSTRAINT fk_installation_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_installation_supply_point_id
        FOREIGN KEY(supply_point_id) REFERENCES supply_point (id),
    CONSTRAINT fk_installation_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id)
);
CREATE INDEX ix_installation_meter_id_from_us ON installation (meter_id, from_us);
CREATE INDEX ix_installation_supply_point_id_from_us ON installation (supply_point_id, from_us);
CREATE TABLE meter_charge (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    tariff_version_id BIGINT NOT NULL,
    start_register BIGINT NOT NULL,
    register BIGINT NOT NULL,
    charged_minor BIGINT NOT NULL,
    taxed_minor BIGINT NOT NULL,
    charged_us BIGINT NOT NULL,
    measured_us BIGINT NOT NULL,
    doubted_register BIGINT,
    from_us BIGINT NOT NULL,
    to_us BIGINT,
    situation TEXT,
    CONSTRAINT pk_meter_charge PRIMARY KEY (id),
    CONSTRAINT fk_meter_charge_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_meter_charge_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id),
    CONSTRAINT fk_meter_charge_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_meter_charge_tariff_version_id
        FOREIGN KEY(tariff_version_id) REFERENCES tariff_version (id)
);
CREATE INDEX ix_meter_charge_meter_id_to_us ON meter_charge (meter_id, to_us);
CREATE TABLE sale (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    principal_id BIGINT NOT NULL,
    branch_id BIGINT NOT NULL,
    sale_id TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    state TEXT NOT NULL,
    voided TEXT,
    receipt_number TEXT NOT NULL,
    meter_id BIGINT NOT NULL,
    account_id BIGINT NOT NULL,
    supply_point_id BIGINT NOT NULL,
    tariff_version_id BIGINT NOT NULL,
    tender_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    channel TEXT NOT NULL,
    credit_mode TEXT NOT NULL,
    device_id BIGINT,
    priced TEXT NOT NULL,
    particulars TEXT NOT NULL,
    units BIGINT NOT NULL,
    receipt TEXT,
    delivery TEXT NOT NULL,
    sold_us BIGINT NOT NULL,
    issued_us BIGINT,
    sent_us BIGINT,
    accepted_us BIGINT,
    verified_us BIGINT,
    act TEXT NOT NULL,
    situation TEXT,
    counted_units BIGINT DEFAULT '0' NOT NULL,
    lifeline_units BIGINT DEFAULT '0' NOT NULL,
    kept_minor BIGINT DEFAULT '0' NOT NULL,
    transfer TEXT DEFAULT 'units' NOT NULL,
    transfer_minor BIGINT,
    CONSTRAINT pk_sale PRIMARY KEY (id),
    CONSTRAINT uq_sale_principal_id_sale_id UNIQUE (principal_id, sale_id),
    CONSTRAINT uq_sale_utility_id_receipt_number UNIQUE (utility_id, receipt_number),
    CONSTRAINT fk_sale_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_sale_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id),
    CONSTRAINT fk_sale_branch_id FOREIGN KEY(branch_id) REFERENCES branch (id),
    CONSTRAINT fk_sale_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id),
    CONSTRAINT fk_sale_account_id FOREIGN KEY(account_id) REFERENCES account (id),
    CONSTRAINT fk_sale_supply_point_id FOREIGN KEY(supply_point_id) REFERENCES supply_point (id),
    CONSTRAINT fk_sale_tariff_version_id
        FOREIGN KEY(tariff_version_id) REFERENCES tariff_version (id),
    CONSTRAINT fk_sale_device_id FOREIGN KEY(device_id) REFERENCES device (id)
);
CREATE INDEX ix_sale_meter_id_sold_us ON sale (meter_id, sold_us);
CREATE INDEX ix_sale_state ON sale (account_id) WHERE state = 'pending';
CREATE INDEX ix_sale_supply_point_id_sold_us ON sale (supply_point_id, sold_us);
CREATE INDEX ix_sale_utility_id_sold_us ON sale (utility_id, sold_us);
CREATE TABLE tariff_draft (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    body TEXT NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    author_id BIGINT NOT NULL,
    authors TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    submitter_id BIGINT,
    submitted_us BIGINT,
    decided_us BIGINT,
    decider_id BIGINT,
    valid_from_us BIGINT,
    tariff_version_id BIGINT,
    note TEXT NOT NULL,
    preview TEXT,
    CONSTRAINT pk_tariff_draft PRIMARY KEY (id),
    CONSTRAINT fk_tariff_draft_utility_id FOREIGN KEY(utility_id) REFERENCES utility (id),
    CONSTRAINT fk_tariff_draft_author_id FOREIGN KEY(author_id) REFERENCES principal (id),
    CONSTRAINT fk_tariff_draft_submitter_id FOREIGN KEY(submitter_id) REFERENCES principal (id),
    CONSTRAINT fk_tariff_draft_decider_id FOREIGN KEY(decider_id) REFERENCES principal (id),
    CONSTRAINT fk_tariff_draft_tariff_version_id
        FOREIGN KEY(tariff_version_id) REFERENCES tariff_version (id)
);
CREATE INDEX ix_tariff_draft_utility_id_code ON tariff_draft (utility_id, code);
CREATE TABLE debt_taken (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    debt_id BIGINT NOT NULL,
    sale_row_id BIGINT NOT NULL,
    minor BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    CONSTRAINT pk_debt_taken PRIMARY KEY (id),
    CONSTRAINT uq_debt_taken_sale_row_id_debt_id UNIQUE (sale_row_id, debt_id),
    CONSTRAINT fk_debt_taken_debt_id FOREIGN KEY(debt_id) REFERENCES debt (id),
    CONSTRAINT fk_debt_taken_sale_row_id FOREIGN KEY(sale_row_id) REFERENCES sale (id)
);
CREATE INDEX ix_debt_taken_debt_id_at_us ON debt_taken (debt_id, at_us);
CREATE TABLE free_claim (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    supply_point_id BIGINT NOT NULL,
    code TEXT NOT NULL,
    period TEXT NOT NULL,
    units BIGINT NOT NULL,
    sale_row_id BIGINT NOT NULL,
    CONSTRAINT pk_free_claim PRIMARY KEY (id),
    CONSTRAINT uq_free_claim_supply_point_id_code_period UNIQUE (supply_point_id, code, period),
    CONSTRAINT fk_free_claim_supply_point_id
        FOREIGN KEY(supply_point_id) REFERENCES supply_point (id),
    CONSTRAINT fk_free_claim_sale_row_id FOREIGN KEY(sale_row_id) REFERENCES sale (id)
);
CREATE INDEX ix_free_claim_sale_row_id ON free_claim (sale_row_id);
CREATE TABLE journal (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    sale_row_id BIGINT,
    frame_id BIGINT,
    principal_id BIGINT,
    reason TEXT NOT NULL,
    CONSTRAINT pk_journal PRIMARY KEY (id),
    CONSTRAINT fk_journal_sale_row_id FOREIGN KEY(sale_row_id) REFERENCES sale (id),
    CONSTRAINT fk_journal_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_journal_sale_row_id ON journal (sale_row_id);
CREATE TABLE receipt_print (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    sale_row_id BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    principal_id BIGINT NOT NULL,
    form TEXT NOT NULL,
    CONSTRAINT pk_receipt_print PRIMARY KEY (id),
    CONSTRAINT fk_receipt_print_sale_row_id FOREIGN KEY(sale_row_id) REFERENCES sale (id),
    CONSTRAINT fk_receipt_print_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_receipt_print_sale_row_id ON receipt_print (sale_row_id);
CREATE TABLE token (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    sale_row_id BIGINT,
    key_id TEXT NOT NULL,
    parameters TEXT NOT NULL,
    request TEXT NOT NULL,
    tid_minute BIGINT NOT NULL,
    tid BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    digits TEXT,
    state TEXT NOT NULL,
    accepted_by TEXT,
    created_us BIGINT NOT NULL,
    issued_us BIGINT,
    accepted_us BIGINT,
    purpose TEXT DEFAULT 'credit' NOT NULL,
    CONSTRAINT pk_token PRIMARY KEY (id),
    CONSTRAINT uq_token_meter_id_tid_minute UNIQUE (meter_id, tid_minute),
    CONSTRAINT fk_token_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id),
    CONSTRAINT fk_token_sale_row_id FOREIGN KEY(sale_row_id) REFERENCES sale (id)
);
CREATE INDEX ix_token_sale_row_id ON token (sale_row_id);
CREATE TABLE command (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    meter_id BIGINT NOT NULL,
    device_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    token_id BIGINT,
    sale_row_id BIGINT,
    principal_id BIGINT,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    priority BIGINT NOT NULL,
    state TEXT NOT NULL,
    result TEXT,
    hold TEXT,
    attempts BIGINT NOT NULL,
    not_before_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    lease_us BIGINT,
    created_us BIGINT NOT NULL,
    sent_us BIGINT,
    acknowledged_us BIGINT,
    ended_us BIGINT,
    CONSTRAINT pk_command PRIMARY KEY (id),
    CONSTRAINT fk_command_meter_id FOREIGN KEY(meter_id) REFERENCES meter (id),
    CONSTRAINT fk_command_device_id FOREIGN KEY(device_id) REFERENCES device (id),
    CONSTRAINT fk_command_token_id FOREIGN KEY(token_id) REFERENCES token (id),
    CONSTRAINT fk_command_sale_row_id FOREIGN KEY(sale_row_id) REFERENCES sale (id),
    CONSTRAINT fk_command_principal_id FOREIGN KEY(principal_id) REFERENCES principal (id)
);
CREATE INDEX ix_command_device_id_state ON command (device_id, state);
CREATE INDEX ix_command_meter_id_created_us ON command (meter_id, created_us);
CREATE INDEX ix_command_state ON command (state);
CREATE INDEX ix_command_utility_id_created_us ON command (utility_id, created_us);
CREATE INDEX ix_command_utility_id_kind_created_us ON command (utility_id, kind, created_us);
CREATE TABLE posting (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    journal_id BIGINT NOT NULL,
    ledger_account_id BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    CONSTRAINT pk_posting PRIMARY KEY (id),
    CONSTRAINT fk_posting_journal_id FOREIGN KEY(journal_id) REFERENCES journal (id),
    CONSTRAINT fk_posting_ledger_account_id
        FOREIGN KEY(ledger_account_id) REFERENCES ledger_account (id)
);
CREATE INDEX ix_posting_journal_id ON posting (journal_id);
CREATE INDEX ix_posting_ledger_account_id ON posting (ledger_account_id);
CREATE TABLE command_log (
    id BIGINT NOT NULL,
    utility_id BIGINT NOT NULL,
    command_id BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    CONSTRAINT pk_command_log PRIMARY KEY (id),
    CONSTRAINT fk_command_log_command_id FOREIGN KEY(command_id) REFERENCES command (id)
);
CREATE INDEX ix_command_log_command_id ON command_log (command_id);
"""


def upgrade() -> None:
    """Apply."""
    op.execute(TABLES)
    for table in BUSY:
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 20)")
    make_guard_function(op)
    for table in APPEND_ONLY:
        guard(op, table)
    op.execute("INSERT INTO id_block (name, next_id) VALUES ('id', 1)")


DROPPED: Final = (
    "command_log",
    "posting",
    "command",
    "token",
    "receipt_print",
    "journal",
    "free_claim",
    "debt_taken",
    "tariff_draft",
    "sale",
    "meter_charge",
    "installation",
    "debt_log",
    "charge",
    "tariff_version",
    "supply_point",
    "free_registration",
    "event",
    "debt",
    "api_key",
    "account_terms",
    "account_class",
    "account_block",
    "principal",
    "notice",
    "device",
    "alarm",
    "account",
    "tariff",
    "sequence",
    "quarantine",
    "meter",
    "ledger_account",
    "customer_class",
    "customer",
    "branch",
    "act",
    "utility",
    "id_block",
    "frame",
    "cursor",
)
"""Each before what it refers to."""


def downgrade() -> None:
    """Undo."""
    for table in DROPPED:
        op.drop_table(table)
    op.execute(f"DROP FUNCTION {FUNCTION}()")
