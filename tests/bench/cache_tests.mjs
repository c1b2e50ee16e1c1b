// Both ends of the public cache tests (npm: http-cache-tests, found in PACKAGE):
//
//     cache_tests.mjs PACKAGE origin PORT    serves what the tests expect of an origin, on loopback
//     cache_tests.mjs PACKAGE client URL     asks for it through the cache at URL, and prints what came of each test, as JSON
import http from 'node:http'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [directory, role, where] = process.argv.slice(2)

async function part (file) {
  return import(pathToFileURL(path.join(directory, file)))
}

async function origin () {
  const kinds = ['config', 'state', 'test']
  const handlers = Object.fromEntries(await Promise.all(kinds.map(async kind => [kind, (await part(`server/handle-${kind}.mjs`)).default])))
  const server = http.createServer((request, response) => {
    const [kind, ...rest] = new URL(request.url, 'http://origin').pathname.slice(1).split('/')
    if (kinds.includes(kind)) {
      handlers[kind](rest, request, response)
    } else {
      response.writeHead(404).end()
    }
  })
  server.listen(where, '127.0.0.1')
}

async function client () {
  const suites = [...(await part('tests/index.mjs')).default, (await part('tests/surrogate-control.mjs')).default]
  const { runTests, getResults } = await part('client/runner.mjs')
  const fetch = createRequire(path.join(directory, 'package.json'))('node-fetch')
  await runTests(suites, fetch, false, where)
  const results = getResults()
  const tests = suites.flatMap(suite => suite.tests).filter(test => test.id in results)
  console.log(JSON.stringify(tests.map(test => (
    { id: test.id, kind: test.kind ?? 'required', needs: test.depends_on ?? [], result: results[test.id] }))))
}

await { origin, client }[role]()
