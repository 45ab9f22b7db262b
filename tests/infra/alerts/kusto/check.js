// Reads {schema: {table: {column: type}}, queries: {name: text}} and writes what the parser says of each
// query: what is wrong, the tables and columns it names, its texts, and which properties it looks into.
require('@kusto/language-service-next/bridge.js')
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js')

const { Symbols } = Kusto.Language

function tableSymbol(name, columns) {
  const declared = Object.entries(columns).map(([column, type]) => `['${column}']: ${type}`)
  return Symbols.TableSymbol.From(`(${declared.join(', ')})`).WithName(name)
}

function walk(node, visit) {
  visit(node)
  for (let i = 0; i < node.ChildCount; i++) {
    const child = node.GetChild(i)
    if (child) walk(child, visit)
  }
}

function checked(text, globals) {
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(text, globals)
  const found = { problems: [], tables: new Set(), texts: new Set(), properties: new Set() }
  const diagnostics = code.GetDiagnostics()
  for (let i = 0; i < diagnostics.Count; i++) found.problems.push(diagnostics.getItem(i).Message)
  walk(code.Syntax, node => {
    const kind = Bridge.getTypeName(node).replace('Kusto.Language.Syntax.', '')
    if (kind === 'LiteralExpression' && typeof node.LiteralValue === 'string') found.texts.add(node.LiteralValue)
    if (kind === 'PathExpression' && node.Expression.toString().trim() === 'Properties') {
      found.properties.add(node.Selector.toString().trim())
    }
    if (kind === 'NameReference' && node.ReferencedSymbol instanceof Symbols.TableSymbol) {
      found.tables.add(node.ReferencedSymbol.Name)
    }
  })
  return Object.fromEntries(Object.entries(found).map(([key, value]) => [key, [...value].sort()]))
}

const { schema, queries } = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const tables = Object.entries(schema).map(([name, columns]) => tableSymbol(name, columns))
const globals = Kusto.Language.GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor('workspace', tables))
const answer = Object.entries(queries).map(([name, text]) => [name, checked(text, globals)])
process.stdout.write(JSON.stringify(Object.fromEntries(answer)))
