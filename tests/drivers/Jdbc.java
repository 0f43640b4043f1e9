// pgjdbc.
import java.sql.*;

class Jdbc {
    static String client;
    static Connection db;

    static void say(String check, boolean ok, Object seen) {
        System.out.println(String.join("\t", client, check, ok ? "ok" : "FAILED", String.valueOf(seen)));
    }

    static ResultSet run(String sql, Object... values) throws SQLException {
        PreparedStatement statement = db.prepareStatement(sql);
        for (int n = 0; n < values.length; n++) statement.setObject(n + 1, values[n]);
        return statement.executeQuery();
    }

    static ResultSet one(String sql, Object... values) throws SQLException {
        ResultSet rows = run(sql, values);
        rows.next();
        return rows;
    }

    static int count(ResultSet rows) throws SQLException {
        int count = 0;
        while (rows.next()) count++;
        return count;
    }

    public static void main(String[] none) throws Exception {
        db = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), System.getenv("PGUSER"), "");
        client = "pgjdbc " + db.getMetaData().getDriverVersion().split(" ")[0];
        long id = 0;
        for (long n = 0; n < 6; n++) id = one("SELECT pgq_push(?, ?::jsonb, priority => ?)", "q", "{\"n\": " + n + "}", -n).getLong(1);
        say("push", id > 1L << 53, "?::jsonb");
        String reserve = "SELECT id, delivery FROM pgq_reserve(?, max => ?)";
        ResultSet message = one(reserve, "q", 1L);
        org.postgresql.util.PGInterval minute = new org.postgresql.util.PGInterval(0, 0, 0, 0, 1, 0);
        say("extend", count(run("SELECT * FROM pgq_extend(?, ?, ?)", message.getObject(1), minute, message.getObject(2))) == 1, "PGInterval");
        say("release", one("SELECT pgq_release(?, ?, ?)", message.getObject(1), new org.postgresql.util.PGInterval(), message.getObject(2)).getBoolean(1), "");
        message = one(reserve, "q", 1);
        say("fail", one("SELECT outcome FROM pgq_fail(?, ?, ?)", message.getObject(1), "no", message.getObject(2)).getString(1).equals("retry"), "");
        message = one(reserve, "q", 1);
        Object first = message.getObject(1), delivery = message.getObject(2);
        say("delete", one("SELECT pgq_delete(?, ?)", first, delivery).getBoolean(1), delivery.getClass().getSimpleName());
        say("refused", !one("SELECT pgq_delete(?, ?)", first, delivery).getBoolean(1), one("SELECT pgq_delete(?, ?)", first, delivery).getObject(1));
        try {
            one("SELECT pgq_delete(?, ?, strict => true)", first, delivery);
            say("strict", false, "no error");
        } catch (SQLException error) {
            say("strict", error.getSQLState().equals("P0002"), error.getSQLState());
        }
        ResultSet rows = run(reserve, "q", 2);
        Long[] ids = new Long[2], deliveries = new Long[2];
        for (int n = 0; rows.next(); n++) {
            ids[n] = rows.getLong(1);
            deliveries[n] = rows.getLong(2);
        }
        String batch = "SELECT pgq_delete_batch(?, ?)";
        say("batch", count(run(batch, db.createArrayOf("bigint", ids), db.createArrayOf("bigint", deliveries))) == 2, "createArrayOf(\"bigint\")");
        say("empty batch", count(run(batch, new long[0], new long[0])) == 0, "long[]");
        String receipt = one("SELECT receipt FROM pgq_reserve(?, max => ?)", "q", 1).getString(1);
        boolean longer = count(run("SELECT * FROM pgq_extend_by_receipt(?, ?)", receipt, minute)) == 1;
        say("receipt", longer && one("SELECT pgq_delete_by_receipt(?)", receipt).getBoolean(1), "String");
        Object seconds = one("SELECT oldest_ready_seconds FROM pgq_stats(?)", "q").getObject(1);
        say("seconds", seconds instanceof Double, seconds.getClass().getSimpleName());
    }
}
