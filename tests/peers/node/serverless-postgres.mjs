#!/usr/bin/env node
// A peer: serverless-postgres, used as its README shows: one client outside the handler; connect, query and clean in
// it. Its defaults: up to three retries about a second apart, and idle sessions ended when more than 80 of 100 are used.

import ServerlessClient from 'serverless-postgres'
import { json, serve } from './bootstrap.mjs'

const client = new ServerlessClient({ connectionString: process.env.DATABASE_URL })

await serve(async () => {
  await client.connect()
  const { rows } = await client.query('SELECT 1 AS one')
  await client.clean()
  return json(rows[0])
})
