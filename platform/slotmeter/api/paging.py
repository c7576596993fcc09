"""Pages of lists that are kept in the order of one key."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from slotmeter.api.models import ROWS_MAX

__all__ = ["AfterQuery", "BeforeQuery"]

WholeLimit = Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")]
"""The limit of short lists: whoever asks for no page has all of any but the longest."""


class AfterQuery(BaseModel):
    """A page of a short list, in the order of its codes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: WholeLimit = ROWS_MAX
    after: str = Field(default="", max_length=100, description="`next` of the page before.")


class BeforeQuery(BaseModel):
    """A page of a short list, newest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: WholeLimit = ROWS_MAX
    before: Annotated[
        int | None, Field(ge=1, le=2**63 - 1, description="`next` of the page before.")
    ] = None
