"""`afterstay status`."""

from services.commands.arguments import Arguments
from services.commands.data_folder import existing_database, open_log, require_data
from services.commands.exit_codes import OK, REFUSED
from services.commands.output import tell, write_facts, write_json, write_table, write_text
from services.followup.store.status import SqlBooks
from services.followup.usecases.pending import read_extent
from services.followup.usecases.status import CONSUMER_GROUP, EMPTY_BOOKS, Books, Extent, Status, status_of
from services.runtime.lifecycle import run_now
from schemas.topics import ADT_EVENTS
