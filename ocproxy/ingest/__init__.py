"""From the journal to the database: assemble exchanges, interpret them, put them in their session, store, follow."""
