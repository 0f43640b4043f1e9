// Works off the jobs that lie in a queue, eight at a time, and prints how many a second.
// usage: node jobs.mjs pgqueue|graphile-worker|pg-boss COUNT   (PGHOST … say where)
import pg from 'pg'

const [engine, count] = [process.argv[2], Number(process.argv[3])]
const CONCURRENCY = 8
const pool = new pg.Pool({ max: CONCURRENCY + 2 })

// Eight loops, each: take one job, do nothing, say that it is done.
async function loops(work) {
  let left = count
  const loop = async () => { while (left > 0) if (await work()) left -= 1 }
  const begun = performance.now()
  await Promise.all(Array.from({ length: CONCURRENCY }, loop))
  return performance.now() - begun
}

const engines = {
  async pgqueue() {
    await pool.query("SELECT pgq_create_queue('jobs')")
    await pool.query(`SELECT count(*) FROM pgq_push_batch('jobs', array_fill('{"n": 1}'::jsonb, ARRAY[${count}]))`)
    return loops(async () => {
      const { rows } = await pool.query({ name: 'reserve', text: "SELECT id, delivery FROM pgq_reserve('jobs')" })
      if (rows.length === 0) return false
      const values = [rows[0].id, rows[0].delivery]
      await pool.query({ name: 'delete', text: 'SELECT pgq_delete($1::bigint, $2::int)', values })
      return true
    })
  },

  async 'graphile-worker'() {
    const { run, runMigrations } = await import('graphile-worker')
    await runMigrations({ pgPool: pool })
    await pool.query(`SELECT count(graphile_worker.add_job('job', '{"n": 1}')) FROM generate_series(1, ${count})`)
    let done = 0
    let finished
    const all = new Promise((resolve) => { finished = resolve })
    const begun = performance.now()
    const taskList = { job: async () => { if (++done === count) finished() } }
    const runner = await run({ pgPool: pool, concurrency: CONCURRENCY, pollInterval: 100, taskList, noHandleSignals: true, logger: await silent() })
    await all
    const took = performance.now() - begun
    await runner.stop()
    return took
  },

  async 'pg-boss'() {
    const { default: PgBoss } = await import('pg-boss')
    const { PGHOST: host, PGUSER: user, PGDATABASE: database } = process.env
    const boss = new PgBoss({ host, user, database, max: CONCURRENCY, supervise: false, schedule: false })
    await boss.start()
    await boss.createQueue('jobs')
    for (let pushed = 0; pushed < count; pushed += 1000) {
      await boss.insert(Array.from({ length: Math.min(1000, count - pushed) }, () => ({ name: 'jobs', data: { n: 1 } })))
    }
    const took = await loops(async () => {
      const [job] = await boss.fetch('jobs')
      if (!job) return false
      await boss.complete('jobs', job.id)
      return true
    })
    await boss.stop({ graceful: false })
    return took
  },
}

async function silent() {
  const { Logger } = await import('graphile-worker')
  return new Logger(() => () => {})
}

const took = await engines[engine]()
console.log(count / (took / 1000))
await pool.end()
process.exit(0)
