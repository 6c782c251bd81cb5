// CIDs as ipfs-unixfs-importer gives them. Standard input: one case a line, {"options": {...}, "files": [{"path", "size" or "text"}]};
// standard output: one line a case, {"cid", "size"} of the last root. A file of a size holds the bytes 0 to 250 over and over.
import { createInterface } from 'node:readline'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { importBytes, importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { DirSharded } from 'ipfs-unixfs-importer/utils'

const PERIOD = 251
const pattern = Uint8Array.from({ length: PERIOD * 8192 }, (_, i) => i % PERIOD)

function * patterned (size) {
  for (let at = 0; at < size; at += pattern.length) yield pattern.subarray(0, Math.min(pattern.length, size - at))
}

const content = ({ size, text }) => text === undefined ? patterned(size) : new TextEncoder().encode(text)
const times = ({ mtime, ...file }) => mtime ? { ...file, mtime: { secs: BigInt(mtime.secs), nsecs: mtime.nsecs ?? undefined } } : file

// What JSON cannot say: our names for chunker and layout.
function settings ({ chunkSize, width, ...options }) {
  if (chunkSize) options.chunker = fixedSize({ chunkSize })
  if (width) options.layout = balanced({ maxChildrenPerNode: width })
  return options
}

// A directory of which we know that it is sharded. The importer measures one anew at each file, which takes it minutes.
async function * sharded (files, options, store) {
  const directory = new DirSharded({ root: true, dir: true, path: '', dirty: true, flat: false }, { shardFanoutBits: 8, cidVersion: options.profile === 'unixfs-v0-2015' ? 0 : 1 })
  for (const file of files) await directory.put(file.path.split('/').pop(), await importBytes(content(file), store, { ...options }))
  yield * directory.flush(store)
}

for await (const line of createInterface({ input: process.stdin })) {
  const { options, files } = JSON.parse(line)
  const store = new BlackHoleBlockstore()
  const source = files.map(file => file.directory ? times(file) : { ...times(file), content: content(file) })
  const entries = options.sharded ? sharded(files, options, store) : importer(source, store, settings(options))
  let last
  for await (const entry of entries) last = entry
  console.log(JSON.stringify({ cid: last.cid.toString(), size: Number(last.size) }))
}
