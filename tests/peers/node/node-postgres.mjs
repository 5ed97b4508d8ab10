#!/usr/bin/env node
// A peer: node-postgres' pool outside the handler, of one connection as an environment serves one event at a time. All
// else is the default: 10 s idle, no connect timeout. The `error` listener is what its documentation asks for, without
// ending the process.

import pg from 'pg'
import { json, serve } from './bootstrap.mjs'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 })
pool.on('error', (error) => console.error('idle client', error.message))

await serve(async () => {
  const { rows } = await pool.query('SELECT 1 AS one')
  return json(rows[0])
})
