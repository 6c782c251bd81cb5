// Fetches content through a gateway and verifies it: verified.mjs GATEWAY ADDRESS... ; an address may end in #FIRST-LAST, a range of bytes.
// Standard output: one line an address, {"status", "type", "length", "sha256"}
import { createHash } from 'node:crypto'
import { withHTTP } from '@helia/http'
import { createVerifiedFetchWithHelia } from '@helia/verified-fetch'
import { createHeliaLight } from 'helia'

const [gateway, ...addresses] = process.argv.slice(2)
// The gateway alone: no peers, no routers of the public network.
const local = { allowLocal: true, allowInsecure: true }
const helia = withHTTP(createHeliaLight(), { delegatedRouters: [], recursiveGateways: [gateway], ...local })
// Without another router, helia waits for the last one for ever.
helia.addRouter({ name: 'nobody', capabilities: () => ['findProviders'], async * findProviders () {} })
await helia.start()
const verifiedFetch = await createVerifiedFetchWithHelia(helia)
for (const address of addresses) {
  const [resource, range] = address.split('#')
  const headers = range ? { range: `bytes=${range}` } : {}
  const response = await verifiedFetch(resource, { headers, ...local })
  const bytes = Buffer.from(await response.arrayBuffer())
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  console.log(JSON.stringify({ status: response.status, type: response.headers.get('content-type'), length: bytes.length, sha256 }))
}
process.exit()
