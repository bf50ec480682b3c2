// An IPFS node that knows no other: `node peer.mjs REPOSITORY`. Prints its RPC's port when it is up,
// and ends when its standard input does, so that it never outlives who started it.
import { create } from 'ipfs-core'
import { HttpApi } from 'ipfs-http-server'

const node = await create({
  repo: process.argv[2],
  offline: true,
  silent: true,
  init: { emptyRepo: true, profiles: ['test'] },
  config: {
    Bootstrap: [],
    Addresses: { Swarm: [], Gateway: '', API: '/ip4/127.0.0.1/tcp/0' }
  }
})
const api = new HttpApi(node)
await api.start()
console.log(api._apiServers[0].info.port)
process.stdin.resume().on('end', () => process.exit(0))
