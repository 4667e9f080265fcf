"""A lead has a status, and the two tenants have their first leads"""

from datetime import datetime, timedelta, timezone

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TENANTS = [("demodev", "Demodev Studio"), ("acme", "Acme Supplies")]

# tenant, name, company, value, status, added this many days ago
LEADS = [
    ("demodev", "Ines Albrecht", "Harbour & Pine", 18400, "qualified", 1),
    ("demodev", "Tomasz Wilk", "Northgate Logistics", 7200, "new", 2),
    ("demodev", "Priya Raman", "Saltwater Labs", 32500, "contacted", 4),
    ("demodev", "Joel Okafor", "Brightlane Dental", 5900, "new", 5),
    ("demodev", "Mei Tanaka", "Papermill Press", 12800, "won", 9),
    ("demodev", "Lucas Ferreira", "Ferreira Roasters", 4100, "lost", 14),
    ("acme", "Hannah Lindqvist", "Fjord Outdoor", 26300, "contacted", 1),
    ("acme", "Omar Haddad", "Cedar Street Clinic", 9800, "new", 3),
    ("acme", "Grace Mbeki", "Kopje Vineyards", 41000, "qualified", 6),
    ("acme", "Daniel Novak", "Novak Tooling", 15600, "won", 8),
    ("acme", "Rosa Delgado", "Marisol Hotels", 6700, "lost", 12),
]


def upgrade() -> None:
    op.add_column(
        "leads", sa.Column("status", sa.String(16), nullable=False, server_default="new")
    )

    tenants = sa.table("tenants", sa.column("id"), sa.column("slug"), sa.column("name"))
    leads = sa.table(
        "leads",
        *(
            sa.column(name)
            for name in ("tenant_id", "name", "company", "value", "status", "created_at")
        ),
    )
    ids = {}
    for slug, name in TENANTS:
        ids[slug] = op.get_bind().scalar(
            tenants.insert().values(slug=slug, name=name).returning(tenants.c.id)
        )
    now = datetime.now(timezone.utc)
    op.bulk_insert(
        leads,
        [
            {
                "tenant_id": ids[slug],
                "name": name,
                "company": company,
                "value": value,
                "status": status,
                "created_at": now - timedelta(days=days),
            }
            for slug, name, company, value, status, days in LEADS
        ],
    )


def downgrade() -> None:
    op.execute("DELETE FROM leads")
    op.execute("DELETE FROM tenants")
    op.drop_column("leads", "status")
