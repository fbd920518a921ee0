//! What files needs to remember, in SQLite.
