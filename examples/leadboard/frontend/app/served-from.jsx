/** Shows which checkout serves this page, because several may run at once. */
export default function ServedFrom({ branch, worktree, database }) {
  const facts = [
    ['Branch', branch],
    ['Database', database],
    ['Worktree', worktree],
  ].filter(([, value]) => value)
  if (facts.length === 0) return null
  return (
    <dl className="served">
      {facts.map(([label, value]) => (
        <div key={label} className={`fact fact-${label.toLowerCase()}`} title={value}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
