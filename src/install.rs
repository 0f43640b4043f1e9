//! The install script: the fragments of `sql/schema`, each after those it depends on.

use pgrx::extension_sql_file;

extension_sql_file!("../sql/schema/tables.sql", name = "tables");
extension_sql_file!("../sql/schema/types.sql", name = "types", requires = ["tables"]);
extension_sql_file!("../sql/schema/produce.sql", name = "produce", requires = ["types"]);
extension_sql_file!("../sql/schema/consume.sql", name = "consume", requires = ["types"]);
extension_sql_file!("../sql/schema/settle.sql", name = "settle", requires = ["types"]);
extension_sql_file!("../sql/schema/change.sql", name = "change", requires = ["types"]);
extension_sql_file!("../sql/schema/dead.sql", name = "dead", requires = ["types"]);
extension_sql_file!("../sql/schema/observe.sql", name = "observe", requires = ["types"]);
extension_sql_file!("../sql/schema/schedule.sql", name = "schedule", requires = ["tables"]);
extension_sql_file!("../sql/schema/watch.sql", name = "watch", requires = ["schedule"]);
extension_sql_file!("../sql/schema/capture.sql", name = "capture", requires = ["tables"]);
extension_sql_file!("../sql/schema/rights.sql", name = "rights", requires = ["watch"]);
extension_sql_file!("../sql/schema/topic.sql", name = "topic", requires = ["rights"]);
extension_sql_file!("../sql/schema/manage.sql", name = "manage", requires = ["observe", "capture", "topic"]);
extension_sql_file!("../sql/schema/closed.sql", name = "closed", requires = ["manage"], finalize);
