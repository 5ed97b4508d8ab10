#!/usr/bin/env node
// A peer: Prisma 7 with the driver adapter for node-postgres, one client outside the handler, as Prisma's page on
// serverless has it. All else is the default: the adapter's pool is pg's, ten connections and no connect timeout.

import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaClient } from '@prisma/client'
import { json, serve } from './bootstrap.mjs'

const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL })
const prisma = new PrismaClient({ adapter })

await serve(async () => {
  const [row] = await prisma.$queryRaw`SELECT 1 AS one`
  return json(row)
})
