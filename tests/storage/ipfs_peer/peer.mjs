// An IPFS node that knows no other: `node peer.mjs REPOSITORY`; with `online` after that, others of
// this machine can connect to it. Prints its RPC's port when it is up, and ends when its standard
// input does, so that it never outlives who started it.
import { create } from 'ipfs-core'
import { HttpApi } from 'ipfs-http-server'

const [repo, mode] = process.argv.slice(2)
const online = mode === 'online'
const node = await create({
  repo,
  offline: !online,
  silent: true,
  init: { emptyRepo: true, profiles: ['test'] },
  config: {
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false } },
    Routing: { Type: 'none' },
    Addresses: { Swarm: online ? ['/ip4/127.0.0.1/tcp/0'] : [], Gateway: '', API: '/ip4/127.0.0.1/tcp/0' }
  }
})
const api = new HttpApi(node)
await api.start()
console.log(api._apiServers[0].info.port)
process.stdin.resume().on('end', () => process.exit(0))
