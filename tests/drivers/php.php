<?php
// PDO_pgsql with native, emulated and no prepares; the pgsql extension.

function say(string $client, string $check, bool $ok, string $seen = ''): void {
    echo implode("\t", [$client, $check, $ok ? 'ok' : 'FAILED', $seen]), "\n";
}

function seen(mixed $value): string {
    return var_export($value, true) . ', ' . ($value ? 'true' : 'false');
}

// $run takes a text with ? and values, and gives rows as lists.
function worker(string $client, callable $run, callable $state): void {
    for ($n = 0; $n < 6; $n++) {
        $id = $run('SELECT pgq_push(?, ?, priority => ?)', [$client, json_encode(['n' => $n]), -$n])[0][0];
    }
    say($client, 'push', $id > 2 ** 53, gettype($id));
    $reserve = fn (int $max) => $run('SELECT id, delivery FROM pgq_reserve(?, max => ?)', [$client, $max]);
    [[$id, $delivery]] = $reserve(1);
    say($client, 'extend', count($run('SELECT * FROM pgq_extend(?, ?, ?)', [$id, '1 min', $delivery])) === 1);
    $is_true = fn (mixed $value) => $value === true || $value === 't';
    say($client, 'release', $is_true($run('SELECT pgq_release(?, ?, ?)', [$id, '0', $delivery])[0][0]));
    [[$id, $delivery]] = $reserve(1);
    say($client, 'fail', $run('SELECT outcome FROM pgq_fail(?, ?, ?)', [$id, 'no', $delivery])[0][0] === 'retry');
    [[$id, $delivery]] = $reserve(1);
    say($client, 'delete', $is_true($run('SELECT pgq_delete(?, ?)', [$id, $delivery])[0][0]));
    say($client, 'refused', true, seen($run('SELECT pgq_delete(?, ?)', [$id, $delivery])[0][0]));
    try {
        $run('SELECT pgq_delete(?, ?, strict => true)', [$id, $delivery]);
    } catch (Exception) {
    }
    say($client, 'strict', $state() === 'P0002', (string) $state());
    $rows = $reserve(2);
    $array = fn (array $values) => '{' . implode(',', $values) . '}';
    $gone = $run('SELECT pgq_delete_batch(?, ?)', [$array(array_column($rows, 0)), $array(array_column($rows, 1))]);
    say($client, 'batch', count($gone) === 2, 'array literals by hand');
    say($client, 'empty batch', $run('SELECT pgq_delete_batch(?, ?)', ['{}', '{}']) === []);
    $receipt = $run('SELECT receipt FROM pgq_reserve(?, max => ?)', [$client, 1])[0][0];
    $longer = count($run('SELECT * FROM pgq_extend_by_receipt(?, ?)', [$receipt, '1 min'])) === 1;
    say($client, 'receipt', $longer && $is_true($run('SELECT pgq_delete_by_receipt(?)', [$receipt])[0][0]), gettype($receipt));
    $seconds = $run('SELECT oldest_ready_seconds FROM pgq_stats(?)', [$client])[0][0];
    say($client, 'seconds', is_numeric($seconds), gettype($seconds));
}

$modes = ['native prepares' => [], 'emulated' => [PDO::ATTR_EMULATE_PREPARES => true], 'no prepares' => [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]];
foreach ($modes as $mode => $options) {
    $db = new PDO('pgsql:', getenv('PGUSER'), '', $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $statement = null;
    $run = function (string $sql, array $values) use ($db, &$statement): array {
        $statement = $db->prepare($sql);
        $statement->execute($values);
        return $statement->fetchAll(PDO::FETCH_NUM);
    };
    worker('PHP ' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION . " PDO_pgsql, $mode", $run, function () use (&$statement) { return $statement->errorCode(); });
}

$db = pg_connect('');
$state = '';
$run = function (string $sql, array $values) use ($db, &$state): array {
    $n = 0;
    pg_send_query_params($db, preg_replace_callback('/\?/', function () use (&$n) { return '$' . ++$n; }, $sql), $values);
    $result = pg_get_result($db);
    $state = pg_result_error_field($result, PGSQL_DIAG_SQLSTATE);
    return pg_fetch_all($result, PGSQL_NUM);
};
worker('PHP ' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION . ' pgsql', $run, function () use (&$state) { return $state; });
