import logging
import os
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints, conint
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from .db import DatabaseNotConfigured, session
from .models import Lead, Tenant

log = logging.getLogger("uvicorn.error")

app = FastAPI(title="Leadboard")

# The origin changes with the tenant and with the worktree's port, so a pattern allows it.
app.add_middleware(
    CORSMiddleware,
    allow_origin_regex=r"http://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)?localhost(:\d{1,5})?",
    allow_methods=["GET", "POST"],
    allow_headers=["content-type"],
)

Db = Annotated[Session, Depends(session)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]


class TenantOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    slug: str
    name: str


class LeadOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str
    company: str
    value: int
    status: str
    created_at: datetime


class Board(BaseModel):
    tenant: TenantOut
    leads: list[LeadOut]


class NewLead(BaseModel):
    tenant: str
    name: Words
    company: Words
    value: conint(ge=0, le=100_000_000) = 0


@app.exception_handler(DBAPIError)
@app.exception_handler(PoolTimeout)
@app.exception_handler(DatabaseNotConfigured)
def database_unavailable(request: Request, error: Exception) -> JSONResponse:
    """Logs one line and answers briefly, instead of a hundred lines of traceback per request."""
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    log.warning("%s: database unavailable: %s", request.url.path, reason)
    return JSONResponse({"error": "database_unavailable", "detail": reason}, status_code=503)


@app.get("/healthz")
def healthz(db: Db) -> dict[str, str]:
    db.execute(select(1))
    return {"status": "ok"}


@app.get("/whoami")
def whoami(db: Db) -> dict[str, str | None]:
    """Returns the checkout and the database that answer."""
    return {
        "database": db.scalar(select(func.current_database())),
        "branch": os.environ.get("DEVRUN_BRANCH"),
        "worktree": os.environ.get("DEVRUN_WORKTREE"),
    }


@app.get("/tenants")
def tenants(db: Db) -> dict[str, list[dict[str, str | int]]]:
    rows = db.execute(
        select(Tenant.slug, Tenant.name, func.count(Lead.id).label("leads"))
        .outerjoin(Lead)
        .group_by(Tenant.id)
        .order_by(Tenant.id)
    )
    return {"tenants": [dict(row._mapping) for row in rows]}


@app.get("/leads")
def leads(tenant: str, db: Db) -> Board:
    found = tenant_by_slug(db, tenant)
    rows = db.scalars(
        select(Lead).where(Lead.tenant_id == found.id).order_by(Lead.created_at.desc(), Lead.id.desc())
    )
    return Board(tenant=found, leads=list(rows))


@app.post("/leads", status_code=201)
def add_lead(new: NewLead, db: Db) -> LeadOut:
    found = tenant_by_slug(db, new.tenant)
    lead = Lead(tenant_id=found.id, **new.model_dump(exclude={"tenant"}))
    db.add(lead)
    db.commit()
    return LeadOut.model_validate(lead)


def tenant_by_slug(db: Session, slug: str) -> Tenant:
    found = db.scalar(select(Tenant).where(Tenant.slug == slug))
    if found is None:
        raise HTTPException(404, "There is no such tenant.")
    return found
