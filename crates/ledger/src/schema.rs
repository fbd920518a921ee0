//! The schema, as migrations that are never changed once released. A migration is written out: it must go on making what it
//! made then, whatever the entities become.

use sea_orm::DbBackend;
use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, binary_null, boolean, string, string_null, text, uuid, uuid_null},
};

/// All migrations, oldest first.
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(First),
            Box::new(Intents),
            Box::new(PurgeOfARevision),
            Box::new(Lists),
            Box::new(Sessions),
            Box::new(Plans),
            Box::new(PeopleMadeOnce),
            Box::new(DueCopies),
            Box::new(Search),
            Box::new(Missed),
            Box::new(LettersOnce),
            Box::new(TagsOfOwners),
            Box::new(ForgottenKeys),
            Box::new(MarksOfStores),
            Box::new(LettersOfNames),
            Box::new(DirectUploads),
            Box::new(RollOfNodes),
            Box::new(EndsOfNames),
        ]
    }
}

impl Migrator {
    /// Names of the migrations that this version knows, oldest first.
    pub(crate) fn known() -> Vec<String> {
        Self::migrations().iter().map(|migration| migration.name().to_owned()).collect()
    }
}

/// The tables of the first version.
struct First;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m0001_first"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for First {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables(manager) {
            manager.create_table(table).await?;
        }
        for (table, columns) in INDEXES {
            manager.create_index(index(table, columns)).await?;
        }
        Ok(())
    }
}

/// Intents, and the number of the last one.
struct Intents;

impl MigrationName for Intents {
    fn name(&self) -> &str {
        "m0002_intents"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for Intents {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(table(manager, "intents", &mut intents(), &["id"])).await?;
        let mut counter = big("intents");
        counter.default(0);
        let mut meta = Table::alter();
        manager.alter_table(meta.table("meta").add_column(counter).to_owned()).await
    }
}

/// Which revision a claim's purge is of.
struct PurgeOfARevision;

impl MigrationName for PurgeOfARevision {
    fn name(&self) -> &str {
        "m0003_purge_of_a_revision"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for PurgeOfARevision {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut claims = Table::alter();
        manager.alter_table(claims.table("claims").add_column(big_integer_null("purge_revision")).to_owned()).await
    }
}

/// Orders of lists, and the filter by type.
struct Lists;

impl MigrationName for Lists {
    fn name(&self) -> &str {
        "m0004_lists"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for Lists {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for mut column in [big("size"), string("content_type")] {
            let none = if column.get_column_name() == "size" { Expr::val(0) } else { Expr::val("") };
            column.default(none);
            let column = by_bytes(manager, column);
            let mut files = Table::alter();
            manager.alter_table(files.table("files").add_column(column).to_owned()).await?;
        }
        // No schema of PostgreSQL is as old as this.
        let filled = "update files set size = json_extract(attributes, '$.size'), \
                      content_type = json_extract(attributes, '$.content_type')";
        if manager.get_database_backend() == DbBackend::Sqlite {
            manager.get_connection().execute_unprepared(filled).await?;
        }
        manager.drop_index(Index::drop().name("files_name").table("files").to_owned()).await?;
        for columns in ORDERS {
            manager.create_index(index("files", columns)).await?;
        }
        Ok(())
    }
}

/// Sessions.
struct Sessions;

impl MigrationName for Sessions {
    fn name(&self) -> &str {
        "m0005_sessions"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for Sessions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(table(manager, "sessions", &mut sessions(), &["id"])).await?;
        for column in ["user_id", "until"] {
            manager.create_index(index("sessions", &[column])).await?;
        }
        Ok(())
    }
}

/// Every list goes straight to its page, and whose files it is of decides the index.
struct Plans;

impl MigrationName for Plans {
    fn name(&self) -> &str {
        "m0006_plans"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for Plans {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for columns in NARROW_ORDERS {
            manager.create_index(index("files", columns)).await?;
        }
        if manager.get_database_backend() != DbBackend::Sqlite {
            // PostgreSQL counts for itself, and knows which values are common.
            return Ok(());
        }
        let db = manager.get_connection();
        // Names are folded letter by letter from now on; before, a Σ at the end of a word became another letter.
        db.execute_unprepared("update files set name_folded = replace(name_folded, 'ς', 'σ')").await?;
        // Makes the table of what the planner knows.
        db.execute_unprepared("analyze").await?;
        db.execute_unprepared("delete from sqlite_stat1").await?;
        for (table, index, told) in KNOWN {
            let known = format!("insert into sqlite_stat1 (tbl, idx, stat) values ('{table}', '{index}', '{told}')");
            db.execute_unprepared(&known).await?;
        }
        Ok(())
    }
}

/// Copies about which something is to be done.
struct DueCopies;

impl MigrationName for DueCopies {
    fn name(&self) -> &str {
        "m0008_due_copies"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for DueCopies {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = format!("CREATE INDEX copies_due ON copies (file_id, revision) WHERE {COPY_IS_DUE}");
        manager.get_connection().execute_unprepared(&index).await.map(drop)
    }
}

/// Whose each tag is; and which files have three letters beside each other in their names.
struct Search;

impl MigrationName for Search {
    fn name(&self) -> &str {
        "m0009_search"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for Search {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        let (kind, nil) = if is_sqlite {
            ("uuid_text", "x'00000000000000000000000000000000'")
        } else {
            ("uuid", "'00000000-0000-0000-0000-000000000000'")
        };
        let db = manager.get_connection();
        db.execute_unprepared(&format!("ALTER TABLE tags ADD COLUMN owner_id {kind} NOT NULL DEFAULT {nil}")).await?;
        // PostgreSQL has no search that goes by it.
        if is_sqlite {
            db.execute_unprepared("UPDATE tags SET owner_id = files.owner_id FROM files WHERE files.id = tags.file_id")
                .await?;
            manager.create_index(index("tags", &["owner_id", "tag", "file_id"])).await?;
            db.execute_unprepared(
                "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('tags', 'tags_owner_id_tag_file_id', '1000000 1000 10 1')",
            )
            .await?;
            for statement in LETTERS {
                db.execute_unprepared(statement).await?;
            }
        }
        Ok(())
    }
}

/// The table of letters of SQLite: for each three letters that are beside each other in a folded name the rows of `files` that have
/// them, and nothing else: neither names nor places in them, so that it stays small. `owner` is three letters that no folded name has,
/// of one owner in 256. Triggers keep it, whoever writes, in the same transaction: a thousand new rows together, for each by itself
/// would cost as much as all its other rows; so what is behind `lettered.upto` is not in it yet. (`VACUUM` leaves the numbers of rows
/// as they are in a table that has an index.)
const LETTERS: &[&str] = &[
    "CREATE VIRTUAL TABLE letters USING fts5 \
     (name, owner, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1')",
    "CREATE TABLE lettered (upto integer NOT NULL)",
    "INSERT INTO lettered SELECT ifnull(max(rowid), 0) FROM files",
    "INSERT INTO letters (rowid, name, owner) SELECT rowid, name_folded, 'X' || substr(hex(owner_id), -2) FROM files",
    "CREATE TRIGGER letters_come AFTER INSERT ON files WHEN new.rowid <= (SELECT upto FROM lettered) BEGIN \
     INSERT INTO letters (rowid, name, owner) VALUES (new.rowid, new.name_folded, 'X' || substr(hex(new.owner_id), -2)); \
     END",
    "CREATE TRIGGER letters_gather AFTER INSERT ON files WHEN new.rowid >= (SELECT upto FROM lettered) + 1000 BEGIN \
     INSERT INTO letters (rowid, name, owner) SELECT rowid, name_folded, 'X' || substr(hex(owner_id), -2) \
     FROM files WHERE rowid > (SELECT upto FROM lettered); \
     UPDATE lettered SET upto = (SELECT max(rowid) FROM files); \
     END",
    "CREATE TRIGGER letters_go AFTER DELETE ON files WHEN old.rowid <= (SELECT upto FROM lettered) BEGIN \
     INSERT INTO letters (letters, rowid, name, owner) \
     VALUES ('delete', old.rowid, old.name_folded, 'X' || substr(hex(old.owner_id), -2)); \
     END",
    "CREATE TRIGGER letters_change AFTER UPDATE OF name_folded, owner_id ON files \
     WHEN (old.name_folded IS NOT new.name_folded OR old.owner_id IS NOT new.owner_id) \
     AND old.rowid <= (SELECT upto FROM lettered) BEGIN \
     INSERT INTO letters (letters, rowid, name, owner) \
     VALUES ('delete', old.rowid, old.name_folded, 'X' || substr(hex(old.owner_id), -2)); \
     INSERT INTO letters (rowid, name, owner) VALUES (new.rowid, new.name_folded, 'X' || substr(hex(new.owner_id), -2)); \
     END",
];

/// What stores have missed.
struct Missed;

impl MigrationName for Missed {
    fn name(&self) -> &str {
        "m0010_missed"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for Missed {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut columns = [uuid("store_id"), big("kind"), uuid("id"), big("revision"), big("epoch"), big("version")];
        manager.create_table(table(manager, "missed", &mut columns, &["store_id", "kind", "id", "revision"])).await
    }
}

/// In one trigger, for the order of two is nobody's promise. Each thousand new rows are brought together. Where more are behind, because the
/// table is being made anew, each sixty-fourth new row brings two thousand of them: no group of uploads waits for all.
const LETTERS_COME: &str = "CREATE TRIGGER letters_come AFTER INSERT ON files \
    WHEN new.rowid <= (SELECT upto FROM lettered) OR new.rowid >= (SELECT upto FROM lettered) + 1000 \
    AND (new.rowid < (SELECT upto FROM lettered) + 3000 OR new.rowid % 64 = 0) BEGIN \
    INSERT INTO letters (rowid, name, owner) \
    SELECT new.rowid, new.name_folded, 'X' || substr(hex(new.owner_id), -2) FROM lettered WHERE new.rowid <= upto; \
    INSERT INTO letters (rowid, name, owner) \
    SELECT files.rowid, name_folded, 'X' || substr(hex(owner_id), -2) FROM lettered CROSS JOIN files \
    WHERE files.rowid > upto AND files.rowid <= upto + 2000; \
    UPDATE lettered SET upto = min(upto + 2000, (SELECT max(rowid) FROM files)); \
    END";

/// Each row comes to the table of letters once, what is behind in bounded steps; and what is in the table can be looked at.
struct LettersOnce;

impl MigrationName for LettersOnce {
    fn name(&self) -> &str {
        "m0011_letters_once"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for LettersOnce {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Sqlite {
            return Ok(());
        }
        let db = manager.get_connection();
        for statement in [
            "DROP TRIGGER IF EXISTS letters_come",
            "DROP TRIGGER IF EXISTS letters_gather",
            "CREATE VIRTUAL TABLE letters_terms USING fts5vocab (letters, instance)",
            LETTERS_COME,
            "INSERT INTO letters (letters) VALUES ('delete-all')",
            LETTERS[3],
            "UPDATE lettered SET upto = (SELECT ifnull(max(rowid), 0) FROM files)",
        ] {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// PostgreSQL too goes from an owner to the tags.
struct TagsOfOwners;

impl MigrationName for TagsOfOwners {
    fn name(&self) -> &str {
        "m0012_tags_of_owners"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for TagsOfOwners {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let filled = "UPDATE tags SET owner_id = files.owner_id FROM files \
                      WHERE files.id = tags.file_id AND tags.owner_id <> files.owner_id";
        manager.get_connection().execute_unprepared(filled).await?;
        manager.create_index(index("tags", &["owner_id", "tag", "file_id"])).await
    }
}

/// When each idempotent request was done, so that those of old can go.
struct ForgottenKeys;

impl MigrationName for ForgottenKeys {
    fn name(&self) -> &str {
        "m0013_forgotten_keys"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for ForgottenKeys {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "CREATE INDEX reservations_at ON reservations (at) WHERE at IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}

/// The highest mark that was to be written to each store. Of stores that are not told of that is the mark as it is.
struct MarksOfStores;

impl MigrationName for MarksOfStores {
    fn name(&self) -> &str {
        "m0014_marks_of_stores"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for MarksOfStores {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut marks = text("marks");
        marks.default("{}");
        let mut meta = Table::alter();
        manager.alter_table(meta.table("meta").add_column(by_bytes(manager, marks)).to_owned()).await
    }
}

/// PostgreSQL too finds names by three letters that are beside each other. What an index of its own kind (GIN over arrays) can hold is made
/// by a function: no extension needs to be installed, letters are the same whatever the language of the database, and the owner is one
/// of them. New names wait in a list of a few hundred before they are sorted in.
const LETTERS_OF: [&str; 2] = [
    "CREATE OR REPLACE FUNCTION letters_of(name text, owner uuid) RETURNS text[] \
     LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ \
     SELECT array_append(array_agg(substr(name, at, 3)), owner::text) FROM generate_series(1, length(name) - 2) AS at $$",
    "CREATE INDEX files_letters ON files USING gin (letters_of(name_folded, owner_id)) \
     WITH (fastupdate = on, gin_pending_list_limit = 512)",
];

/// The index of letters of PostgreSQL.
struct LettersOfNames;

impl MigrationName for LettersOfNames {
    fn name(&self) -> &str {
        "m0015_letters_of_names"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for LettersOfNames {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            for statement in LETTERS_OF {
                manager.get_connection().execute_unprepared(statement).await?;
            }
        }
        Ok(())
    }
}

/// Direct uploads.
struct DirectUploads;

impl MigrationName for DirectUploads {
    fn name(&self) -> &str {
        "m0016_direct_uploads"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for DirectUploads {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(table(manager, "direct_uploads", &mut direct_uploads(), &["id"])).await?;
        for columns in [&["user_id", "ends_at"][..], &["ends_at"]] {
            manager.create_index(index("direct_uploads", columns)).await?;
        }
        Ok(())
    }
}

/// The nodes that live, where only the database tells.
struct RollOfNodes;

impl MigrationName for RollOfNodes {
    fn name(&self) -> &str {
        "m0017_roll_of_nodes"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for RollOfNodes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Processes that share a file of SQLite hold locks beside it.
        if manager.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        manager
            .create_table(table(manager, "roll", &mut [string("node"), big("raised"), text("locked")], &["node"]))
            .await
    }
}

/// The last letters of names too begin three, so that one and two letters are found wherever they stand: over SQLite each name is followed
/// by two that none has, over PostgreSQL what begins at the last two is shorter, and sought by how it begins, with which a text search
/// vector can serve and an array can't.
struct EndsOfNames;

impl MigrationName for EndsOfNames {
    fn name(&self) -> &str {
        "m0018_ends_of_names"
    }
}

const ENDS_OF_NAMES: [&str; 9] = [
    "DROP TRIGGER IF EXISTS letters_come",
    "DROP TRIGGER IF EXISTS letters_go",
    "DROP TRIGGER IF EXISTS letters_change",
    "CREATE TRIGGER letters_come AFTER INSERT ON files \
     WHEN new.rowid <= (SELECT upto FROM lettered) OR new.rowid >= (SELECT upto FROM lettered) + 1000 \
     AND (new.rowid < (SELECT upto FROM lettered) + 3000 OR new.rowid % 64 = 0) BEGIN \
     INSERT INTO letters (rowid, name, owner) \
     SELECT new.rowid, new.name_folded || char(1, 1), 'X' || substr(hex(new.owner_id), -2) \
     FROM lettered WHERE new.rowid <= upto; \
     INSERT INTO letters (rowid, name, owner) \
     SELECT files.rowid, name_folded || char(1, 1), 'X' || substr(hex(owner_id), -2) FROM lettered CROSS JOIN files \
     WHERE files.rowid > upto AND files.rowid <= upto + 2000; \
     UPDATE lettered SET upto = min(upto + 2000, (SELECT max(rowid) FROM files)); \
     END",
    "CREATE TRIGGER letters_go AFTER DELETE ON files WHEN old.rowid <= (SELECT upto FROM lettered) BEGIN \
     INSERT INTO letters (letters, rowid, name, owner) \
     VALUES ('delete', old.rowid, old.name_folded || char(1, 1), 'X' || substr(hex(old.owner_id), -2)); \
     END",
    "CREATE TRIGGER letters_change AFTER UPDATE OF name_folded, owner_id ON files \
     WHEN (old.name_folded IS NOT new.name_folded OR old.owner_id IS NOT new.owner_id) \
     AND old.rowid <= (SELECT upto FROM lettered) BEGIN \
     INSERT INTO letters (letters, rowid, name, owner) \
     VALUES ('delete', old.rowid, old.name_folded || char(1, 1), 'X' || substr(hex(old.owner_id), -2)); \
     INSERT INTO letters (rowid, name, owner) \
     VALUES (new.rowid, new.name_folded || char(1, 1), 'X' || substr(hex(new.owner_id), -2)); \
     END",
    "INSERT INTO letters (letters) VALUES ('delete-all')",
    "INSERT INTO letters (rowid, name, owner) \
     SELECT rowid, name_folded || char(1, 1), 'X' || substr(hex(owner_id), -2) FROM files",
    "UPDATE lettered SET upto = (SELECT ifnull(max(rowid), 0) FROM files)",
];

/// Names are read on while the new index is made. Which letters are common is counted at once: nobody else may for long.
const LETTERS_IN: [&str; 6] = [
    "CREATE OR REPLACE FUNCTION letters_in(name text, owner uuid) RETURNS tsvector \
     LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ \
     SELECT array_to_tsvector(array_append(array_agg(substr(name, at, 3)), chr(2) || owner::text)) \
     FROM generate_series(1, length(name)) AS at $$",
    "CREATE INDEX files_letters_in ON files USING gin (letters_in(name_folded, owner_id)) \
     WITH (fastupdate = on, gin_pending_list_limit = 512)",
    "DROP INDEX IF EXISTS files_letters",
    "ALTER INDEX files_letters_in RENAME TO files_letters",
    "DROP FUNCTION IF EXISTS letters_of",
    "ANALYZE files",
];

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for EndsOfNames {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let statements = match manager.get_database_backend() {
            DbBackend::Sqlite => &ENDS_OF_NAMES[..],
            _ => &LETTERS_IN,
        };
        for statement in statements {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// A copy that is pending, lost, or present with a time of verification, as the numbers of its state say it. Of a copy that is right
/// the index on them has no row, so that an upload to one store writes no page more.
pub(crate) const COPY_IS_DUE: &str = "state IN (0, 4) OR (state = 1 AND verified_at IS NOT NULL)";

/// The orders of names and sizes within a bucket, and of sizes within an owner's files.
const NARROW_ORDERS: &[&[&str]] = &[
    &["owner_id", "deleted", "size", "id"],
    &["bucket_id", "deleted", "name", "id"],
    &["bucket_id", "deleted", "size", "id"],
];

/// What SQLite's planner is told of each index: rows, then how many share the first column, the first two, and so on
/// (<https://sqlite.org/fileformat2.html#the_sqlite_stat1_table>). It is never counted: a larder with one owner, or one bucket, would teach
/// it that these choose nothing, and the list of the second owner would read the files of the first.
const KNOWN: &[(&str, &str, &str)] = &[
    ("files", "sqlite_autoindex_files_1", "1000000 1"),
    ("files", "files_deleted_id", "1000000 500000 1"),
    ("files", "files_deleted_name_id", "1000000 500000 50 1"),
    ("files", "files_deleted_size_id", "1000000 500000 10 1"),
    ("files", "files_bucket_id_deleted_id", "1000000 200000 150000 1"),
    ("files", "files_bucket_id_deleted_name_id", "1000000 200000 150000 50 1"),
    ("files", "files_bucket_id_deleted_size_id", "1000000 200000 150000 10 1"),
    ("files", "files_owner_id_deleted_id", "1000000 1000 900 1"),
    ("files", "files_owner_id_deleted_name_id", "1000000 1000 900 2 1"),
    ("files", "files_owner_id_deleted_size_id", "1000000 1000 900 2 1"),
    ("tags", "sqlite_autoindex_tags_1", "1000000 1000 1"),
    ("tags", "tags_file_id", "1000000 3"),
];

/// The user that an idempotent request made.
struct PeopleMadeOnce;

impl MigrationName for PeopleMadeOnce {
    fn name(&self) -> &str {
        "m0007_people_made_once"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out, and the two must agree")]
#[async_trait::async_trait]
impl MigrationTrait for PeopleMadeOnce {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut reservations = Table::alter();
        manager.alter_table(reservations.table("reservations").add_column(uuid_null("user_id")).to_owned()).await
    }
}

/// Each order, and that of one owner's names. Every index is a page more that an upload writes.
const ORDERS: &[&[&str]] =
    &[&["deleted", "name", "id"], &["deleted", "size", "id"], &["owner_id", "deleted", "name", "id"]];

fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{table}_{}", columns.join("_"))).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

/// Each filter of a list with the order of its answer; and what is looked up by something else than its key.
const INDEXES: &[(&str, &[&str])] = &[
    ("files", &["bucket_id", "deleted", "id"]),
    ("files", &["owner_id", "deleted", "id"]),
    ("files", &["name"]),
    ("files", &["deleted", "id"]),
    ("tags", &["file_id"]),
    ("reservations", &["node"]),
];

fn tables(manager: &SchemaManager<'_>) -> Vec<TableCreateStatement> {
    let table = |name, columns: &mut [ColumnDef], key| table(manager, name, columns, key);
    vec![
        table(
            "meta",
            &mut [big("id"), uuid("instance"), big("epoch"), big("mark"), text("stores"), big("claims")],
            &["id"],
        ),
        table("files", &mut files(), &["id"]),
        table("tags", &mut [text("tag"), uuid("file_id")], &["tag", "file_id"]),
        table("revisions", &mut revisions(), &["file_id", "revision"]),
        table("copies", &mut copies(), &["file_id", "revision", "store_id"]),
        table("given", &mut [uuid("file_id"), big("version"), big("revision")], &["file_id"]),
        table("claims", &mut claims(), &["id"]),
        table("tombstones", &mut [uuid("file_id"), big("revision"), text("tombstone")], &["file_id", "revision"]),
        table("reservations", &mut reservations(), &["key"]),
        table("users", &mut [uuid("id"), unique(string("name")), text("record")], &["id"]),
        table("buckets", &mut [uuid("id"), unique(string("name")), text("record")], &["id"]),
    ]
}

fn table(
    manager: &SchemaManager<'_>,
    name: &'static str,
    columns: &mut [ColumnDef],
    key: &[&'static str],
) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(name);
    for column in columns {
        table.col(by_bytes(manager, column.clone()));
    }
    let mut primary = Index::create();
    for column in key {
        primary.col(*column);
    }
    table.primary_key(&mut primary);
    table
}

/// Texts are compared byte by byte, whatever the language of the database: so they are over SQLite, and so names are listed.
fn by_bytes(manager: &SchemaManager<'_>, mut column: ColumnDef) -> ColumnDef {
    let is_text = matches!(column.get_column_type(), Some(ColumnType::Text | ColumnType::String(_)));
    if is_text && manager.get_database_backend() == DbBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}

fn big(name: &'static str) -> ColumnDef {
    big_integer(name)
}

fn unique(mut column: ColumnDef) -> ColumnDef {
    column.unique_key();
    column
}

fn files() -> [ColumnDef; 11] {
    [
        uuid("id"),
        big("epoch"),
        big("version"),
        binary("digest"),
        big("revision"),
        uuid("bucket_id"),
        uuid("owner_id"),
        text("name"),
        text("name_folded"),
        boolean("deleted"),
        text("attributes"),
    ]
}

fn revisions() -> [ColumnDef; 11] {
    [
        uuid("file_id"),
        big("revision"),
        big("epoch"),
        big("version"),
        binary("digest"),
        text("key"),
        big("size"),
        binary("sha256"),
        big("crc64nvme"),
        string("content_type"),
        big("revised_at"),
    ]
}

fn copies() -> [ColumnDef; 5] {
    [uuid("file_id"), big("revision"), uuid("store_id"), big("state"), big_integer_null("verified_at")]
}

fn claims() -> [ColumnDef; 7] {
    [
        big("id"),
        unique(uuid("file_id")),
        boolean("purge"),
        string("node"),
        big("version"),
        big("revision"),
        big("opened_at"),
    ]
}

fn intents() -> [ColumnDef; 12] {
    [
        big("id"),
        big("fence"),
        big("state"),
        string("node"),
        uuid("store_id"),
        text("key"),
        binary_null("idempotency"),
        uuid_null("file_id"),
        big_integer_null("revision"),
        big_integer_null("claim"),
        big("lease"),
        big("until"),
    ]
}

fn direct_uploads() -> [ColumnDef; 8] {
    [
        uuid("id"),
        uuid("user_id"),
        uuid("store_id"),
        big("size"),
        big("part_bytes"),
        big("expires_at"),
        big("ends_at"),
        text("file"),
    ]
}

fn sessions() -> [ColumnDef; 6] {
    [uuid("id"), uuid("user_id"), big("serial"), big("opened_at"), big("until"), big("ends_at")]
}

fn reservations() -> [ColumnDef; 6] {
    [
        binary("key"),
        string_null("node"),
        binary_null("request"),
        big_integer_null("status"),
        uuid_null("file_id"),
        big_integer_null("at"),
    ]
}
