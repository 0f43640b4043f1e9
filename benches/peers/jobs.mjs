// Works off the jobs that lie in a queue, and prints how many a second.
// usage: node jobs.mjs ENGINE COUNT   (an engine below; PGHOST … say where: a database of its own)
import pg from 'pg'

const [engine, count] = [process.argv[2], Number(process.argv[3])]
const CONCURRENCY = 8
const BATCH = 100
const pool = new pg.Pool({ max: CONCURRENCY + 2 })
const fail = (error) => { throw error }
pool.on('error', fail).on('connect', (client) => client.on('error', fail))
let done = 0

// The tables are as vacuum keeps them when work begins.
async function begin() {
  await pool.query('VACUUM ANALYZE')
  return performance.now()
}

// Eight loops; each time work() takes jobs and says that they are done. It returns how many.
async function loops(work) {
  const loop = async () => {
    while (done < count) {
      const some = await work()
      done += some
    }
  }
  const begun = await begin()
  await Promise.all(Array.from({ length: CONCURRENCY }, loop))
  return performance.now() - begun
}

// A runner of the engine's own, which calls handled(n): until the query finds none that is not done.
async function runner(start, query) {
  let finished
  const all = new Promise((resolve) => { finished = resolve })
  const begun = await begin()
  const stop = await start((n) => { if ((done += n) >= count) finished() })
  await all
  while ((await pool.query(query)).rowCount > 0) await new Promise((resolve) => setTimeout(resolve, 1))
  const took = performance.now() - begun
  await stop()
  return took
}

async function fillPgqueue() {
  await pool.query('CREATE EXTENSION pgqueue')
  await pool.query("SELECT pgq_create_queue('jobs')")
  await pool.query(`SELECT count(*) FROM pgq_push_batch('jobs', array_fill('{"n": 1}'::jsonb, ARRAY[${count}]))`)
}

async function graphileWorker(options) {
  const { run, runMigrations, Logger } = await import('graphile-worker')
  await runMigrations({ pgPool: pool })
  await pool.query(`SELECT count(graphile_worker.add_job('job', '{"n": 1}')) FROM generate_series(1, ${count})`)
  const preset = { worker: { concurrentJobs: CONCURRENCY, maxPoolSize: CONCURRENCY + 2, ...options } }
  const start = async (handled) => {
    const taskList = { job: async () => handled(1) }
    const running = await run({ preset, pgPool: pool, taskList, noHandleSignals: true, logger: new Logger(() => () => {}) })
    return () => running.stop()
  }
  return runner(start, 'SELECT FROM graphile_worker.jobs LIMIT 1')
}

async function pgBoss(work) {
  const { PgBoss } = await import('pg-boss')
  const { PGHOST: host, PGUSER: user, PGDATABASE: database } = process.env
  const boss = new PgBoss({ host, user, database, max: CONCURRENCY + 2 })
  boss.on('error', fail)
  await boss.start()
  await boss.createQueue('jobs')
  for (let pushed = 0; pushed < count; pushed += 1000) {
    await boss.insert('jobs', Array.from({ length: Math.min(1000, count - pushed) }, () => ({ data: { n: 1 } })))
  }
  const took = await work(boss)
  await boss.stop({ graceful: false })
  return took
}

const engines = {
  async pgqueue() {
    await fillPgqueue()
    return loops(async () => {
      const { rows } = await pool.query({ name: 'reserve', text: "SELECT id, delivery FROM pgq_reserve('jobs')" })
      if (rows.length === 0) return 0
      const values = [rows[0].id, rows[0].delivery]
      const { rows: [{ deleted }] } = await pool.query({ name: 'delete', text: 'SELECT pgq_delete($1::bigint, $2::bigint) AS deleted', values })
      return deleted ? 1 : 0
    })
  },

  async 'pgqueue-batches'() {
    await fillPgqueue()
    return loops(async () => {
      const { rows } = await pool.query({ name: 'reserve', text: `SELECT id, delivery FROM pgq_reserve('jobs', max => ${BATCH})` })
      if (rows.length === 0) return 0
      const values = [rows.map((row) => row.id), rows.map((row) => row.delivery)]
      return (await pool.query({ name: 'delete', text: 'SELECT pgq_delete_batch($1::bigint[], $2::bigint[])', values })).rowCount
    })
  },

  'graphile-worker': () => graphileWorker({}),

  'graphile-worker-batches': () => graphileWorker({ localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),

  'pg-boss': () => pgBoss((boss) => loops(async () => {
    const [job] = await boss.fetch('jobs')
    if (!job) return 0
    return (await boss.complete('jobs', job.id)).affected
  })),

  'pg-boss-batches': () => pgBoss((boss) => runner(async (handled) => {
    const options = { batchSize: BATCH, localConcurrency: CONCURRENCY, burstWhenBatchFull: true }
    await boss.work('jobs', options, async (jobs) => handled(jobs.length))
    return () => boss.offWork('jobs', { wait: false })
  }, "SELECT FROM pgboss.job WHERE name = 'jobs' AND state < 'completed' LIMIT 1")),
}

const took = await engines[engine]()
if (done !== count) throw new Error(`${done} of ${count} jobs were done`)
console.log(count / (took / 1000))
process.exit(0)
