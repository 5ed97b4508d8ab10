// The Lambda runtime of the Node peers: asks the Runtime API for an event, calls the handler, posts what it returns.
//
// It does what the managed Node runtime does and no more: a handler that throws is a function error, an error outside it
// ends the process, and the event loop goes on until the next event is asked for and the environment is frozen. It may
// not know about databases. Waiting for the next event has no time limit, as the Runtime API demands.

import http from 'node:http'

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':')

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, host, port, method, path: `/2018-06-01/runtime/${path}` }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('end', () => resolve({ headers: response.headers, text: Buffer.concat(chunks).toString() }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Serves events one at a time, for as long as the process lives. */
export async function serve(handler) {
  for (;;) {
    const { headers, text } = await call('GET', 'invocation/next')
    const id = headers['lambda-runtime-aws-request-id']
    try {
      await call('POST', `invocation/${id}/response`, await handler(JSON.parse(text)))
    } catch (error) {
      console.error(error)
      await call('POST', `invocation/${id}/error`, { errorType: error.name, errorMessage: error.message })
    }
  }
}

/** The answer to an HTTP event: 200, JSON. */
export function json(value) {
  return { statusCode: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) }
}
