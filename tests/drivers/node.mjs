// node-postgres, postgres.js, Knex, Kysely, Drizzle over both, Sequelize, TypeORM, pg-promise, Slonik.
import { createRequire } from 'node:module';

const require = createRequire(process.env.NODE_PATH ? process.env.NODE_PATH + '/' : import.meta.url);
const { PGHOST: host, PGUSER: user, PGDATABASE: database, PGPORT: port } = process.env;
const tcp = `postgresql://${user}@127.0.0.1:${port}/${database}`;
const minute = '1 min';
const say = (client, check, ok, seen = '') => console.log([client, check, ok ? 'ok' : 'FAILED', seen].join('\t'));
const sqlstate = error => error?.code ?? error?.parent?.code ?? error?.cause?.code ?? error?.driverError?.code ?? error?.cause?.cause?.code;

// What a worker says. `run` takes a text with $1, $2 and values, and gives rows as objects.
async function loop(client, run, payload = n => ({ n }), batch = 'SELECT pgq_delete_batch($1, $2) AS id') {
  const queue = 'q ' + client;
  const value = async (sql, ...args) => Object.values((await run(sql, args))[0])[0];
  let id, delivery;
  for (let n = 0; n < 6; n++) id = await value('SELECT pgq_push($1, $2, priority => $3)', queue, payload(n), -n);
  say(client, 'push', BigInt(id) > 2n ** 53n, typeof id);
  const reserve = max => run('SELECT id, delivery FROM pgq_reserve($1, max => $2)', [queue, max]);
  [{ id, delivery }] = await reserve(1);
  say(client, 'extend', (await run('SELECT id FROM pgq_extend($1, $2, $3)', [id, minute, delivery])).length === 1);
  say(client, 'release', (await value('SELECT pgq_release($1, $2, $3)', id, '0', delivery)) === true);
  [{ id, delivery }] = await reserve(1);
  say(client, 'fail', (await value('SELECT outcome FROM pgq_fail($1, $2, $3)', id, 'no', delivery)) === 'retry');
  [{ id, delivery }] = await reserve(1);
  say(client, 'delete', (await value('SELECT pgq_delete($1, $2)', id, delivery)) === true, typeof delivery);
  const refused = await value('SELECT pgq_delete($1, $2)', id, delivery);
  say(client, 'refused', refused === false, `${typeof refused} ${refused}`);
  const error = await run('SELECT pgq_delete($1, $2, strict => true)', [id, delivery]).then(() => undefined, error => error);
  say(client, 'strict', sqlstate(error) === 'P0002', sqlstate(error));
  const rows = await reserve(2);
  const gone = await run(batch, [rows.map(row => row.id), rows.map(row => row.delivery)]);
  say(client, 'batch', gone.length === 2, batch.includes('::') ? 'with ::bigint[]' : '');
  say(client, 'empty batch', (await run(batch, [[], []])).length === 0);
  const receipt = await value('SELECT receipt FROM pgq_reserve($1, max => $2)', queue, 1);
  const longer = (await run('SELECT id FROM pgq_extend_by_receipt($1, $2)', [receipt, minute])).length === 1;
  say(client, 'receipt', longer && (await value('SELECT pgq_delete_by_receipt($1)', receipt)) === true, typeof receipt);
  const seconds = await value('SELECT oldest_ready_seconds FROM pgq_stats($1)', queue);
  say(client, 'seconds', typeof seconds === 'number', typeof seconds);
}

// A template's parts and values from a text with $1, $2, for clients that take templates.
const template = (sql, args) => {
  const numbers = [...sql.matchAll(/\$(\d+)/g)].map(match => args[match[1] - 1]);
  const parts = sql.split(/\$\d+/);
  return [Object.freeze(Object.assign([...parts], { raw: Object.freeze(parts) })), numbers];
};

const clients = {
  async pg(version) {
    const db = new (require('pg').Client)();
    await db.connect();
    await loop(`node-postgres ${version}`, async (sql, args) => (await db.query(sql, args)).rows);
    await db.end();
  },
  async postgres(version) {
    const sql = require('postgres')({ host, port, user, database, max: 1 });
    await loop(`postgres.js ${version}`, async (text, args) => [...(await sql.unsafe(text, args, { prepare: true }))]);
    await sql.end();
  },
  async knex(version) {
    const db = require('knex')({ client: 'pg', connection: { host, port: +port, user, database } });
    await loop(`Knex ${version}`, async (sql, args) => (await db.raw(sql.replace(/\$\d+/g, '?'), args)).rows);
    await db.destroy();
  },
  async kysely(version) {
    const { Kysely, PostgresDialect, CompiledQuery } = require('kysely');
    const db = new Kysely({ dialect: new PostgresDialect({ pool: new (require('pg').Pool)() }) });
    await loop(`Kysely ${version}`, async (sql, args) => (await db.executeQuery(CompiledQuery.raw(sql, args))).rows);
    await db.destroy();
  },
  async 'drizzle-orm'(version) {
    const { sql } = require('drizzle-orm');
    const fill = (text, args) => { const [parts, values] = template(text, args); return sql(parts, ...values.map(value => sql.param(value))); };
    const pool = new (require('pg').Pool)();
    const overPg = require('drizzle-orm/node-postgres').drizzle(pool);
    await loop(`Drizzle ${version} (pg)`, async (text, args) => (await overPg.execute(fill(text, args))).rows);
    await pool.end();
    const client = require('postgres')({ host, port, user, database, max: 1 });
    const overPostgres = require('drizzle-orm/postgres-js').drizzle(client);
    await loop(`Drizzle ${version} (postgres.js)`, async (text, args) => [...(await overPostgres.execute(fill(text, args)))], n => `{"n": ${n}}`);
    await client.end();
  },
  async sequelize(version) {
    const db = new (require('sequelize').Sequelize)(tcp, { logging: false });
    await loop(`Sequelize ${version} (bind)`, (sql, bind) => db.query(sql, { bind, type: 'SELECT' }));
    await db.close();
  },
  async typeorm(version) {
    require('reflect-metadata');
    const db = await new (require('typeorm').DataSource)({ type: 'postgres', url: tcp }).initialize();
    await loop(`TypeORM ${version}`, (sql, args) => db.query(sql, args));
    await db.destroy();
  },
  async 'pg-promise'(version) {
    const pgp = require('pg-promise')();
    const db = pgp(tcp);
    // Arrays of bigints, which are strings here, become text[].
    const batch = 'SELECT pgq_delete_batch($1::bigint[], $2::bigint[]) AS id';
    await loop(`pg-promise ${version}`, (sql, args) => db.any(sql, args), undefined, batch);
    pgp.end();
  },
  async slonik(version) {
    const { createPool, sql } = require('slonik');
    const pool = await createPool(tcp, { maximumPoolSize: 1 });
    const token = value => value !== null && typeof value === 'object' && !Array.isArray(value) ? sql.jsonb(value) : Array.isArray(value) ? sql.array(value, 'int8') : value;
    await loop(`Slonik ${version}`, async (text, args) => { const [parts, values] = template(text, args); return (await pool.any(sql.unsafe(parts, ...values.map(token)))); });
    await pool.end();
  },
};

for (const [name, run] of Object.entries(clients)) {
  let version;
  try { version = JSON.parse(require('node:fs').readFileSync(require.resolve(name).replace(new RegExp(`(node_modules/${name})/.*`), '$1/package.json'))).version; } catch { continue; }
  try { await run(version); } catch (error) { say(`${name} ${version}`, 'all', false, String(error?.stack ?? error).replaceAll('\n', ' ').slice(0, 300)); }
}
process.exit(0);
