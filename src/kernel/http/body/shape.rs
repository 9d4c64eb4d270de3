//! The registered schema of a type, compiled once into what the walker needs.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::Value;

use super::content::CONTENT_FORMAT;
use super::formats;

/// One place in a document.
#[derive(Debug)]
pub(super) enum Node {
    /// Nothing is known; only control characters are refused.
    Any,
    Text(TextRule),
    Integer {
        min: i128,
        max: i128,
    },
    Number {
        min: f64,
        max: f64,
    },
    Bool,
    List {
        item: Box<Node>,
        min: usize,
        max: usize,
    },
    Object(ObjectRule),
    Choice {
        arms: Vec<Node>,
        by: Option<Discriminator>,
    },
    /// Index into [`Shape::named`].
    Named(usize),
}

#[derive(Debug)]
pub(super) struct TextRule {
    pub verbatim: bool,
    pub controls: bool,
    /// Taken out of the body while it is read, when it is long.
    pub content: bool,
    pub min: usize,
    pub max: usize,
    pub allowed: Vec<Value>,
    pub check: Option<formats::FormatCheck>,
}

#[derive(Debug, Default)]
pub(super) struct ObjectRule {
    pub fields: Vec<Field>,
    /// Values under names that are not fields; `None` when they are ignored.
    pub others: Option<Box<Node>>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub required: bool,
    pub node: Node,
}

#[derive(Debug)]
pub(super) struct Discriminator {
    pub property: &'static str,
    /// Value of the property → arm.
    pub arms: Vec<(String, Node)>,
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Shape {
    pub root: Node,
    pub named: Vec<Node>,
}

impl Shape {
    /// Follows names until something with a shape of its own.
    pub fn resolve<'a>(&'a self, mut node: &'a Node) -> &'a Node {
        while let Node::Named(index) = node {
            node = &self.named[*index];
        }
        node
    }

    /// May the top level be an array?
    pub fn takes_array(&self) -> bool {
        let is_list = |n: &Node| matches!(self.resolve(n), Node::List { .. });
        match self.resolve(&self.root) {
            Node::Choice { arms, .. } => arms.iter().any(is_list),
            node => is_list(node),
        }
    }

    /// Bytes of the longest name of a field anywhere in it.
    pub fn longest_name(&self) -> usize {
        fn of(node: &Node) -> usize {
            match node {
                Node::List { item, .. } => of(item),
                Node::Choice { arms, .. } => arms.iter().map(of).max().unwrap_or(0),
                Node::Object(rule) => {
                    let fields = rule.fields.iter().map(|f| f.name.len().max(of(&f.node)));
                    fields.max().unwrap_or(0)
                }
                _ => 0,
            }
        }
        self.named.iter().map(of).max().unwrap_or(0).max(of(&self.root))
    }

    /// Is there a field without which the body is not valid?
    pub fn has_required(&self) -> bool {
        match self.resolve(&self.root) {
            Node::Object(rule) => rule.fields.iter().any(|f| f.required),
            _ => true,
        }
    }
}

/// The shape of `T`, compiled on first use and kept: types do not change while a process runs.
pub(super) fn shape_of<T: Type + 'static>() -> &'static Shape {
    static CACHE: RwLock<Option<HashMap<TypeId, &'static Shape>>> = RwLock::new(None);
    let id = TypeId::of::<T>();
    let known = CACHE
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .and_then(|c| c.get(&id).copied());
    known.unwrap_or_else(|| {
        let shape = compile::<T>();
        let mut cache = CACHE.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster; only one is kept for good.
        cache
            .get_or_insert_default()
            .entry(id)
            .or_insert_with(|| Box::leak(Box::new(shape)))
    })
}

fn compile<T: Type>() -> Shape {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let mut compiler = Compiler {
        registry: &registry,
        indices: HashMap::new(),
        named: Vec::new(),
    };
    let root = compiler.reference(&T::schema_ref());
    Shape {
        root,
        named: compiler.named,
    }
}

struct Compiler<'a> {
    registry: &'a Registry,
    indices: HashMap<String, usize>,
    named: Vec<Node>,
}

impl Compiler<'_> {
    fn reference(&mut self, schema: &MetaSchemaRef) -> Node {
        match schema {
            MetaSchemaRef::Inline(schema) => self.inline(schema),
            MetaSchemaRef::Reference(name) => self.named(name),
        }
    }

    fn named(&mut self, name: &str) -> Node {
        if let Some(index) = self.indices.get(name) {
            return Node::Named(*index);
        }
        let Some(schema) = self.registry.schemas.get(name) else {
            return Node::Any;
        };
        // Reserved before compiling, so that a type may contain itself.
        let index = self.named.len();
        self.indices.insert(name.to_owned(), index);
        self.named.push(Node::Any);
        let node = self.inline(schema);
        self.named[index] = node;
        Node::Named(index)
    }

    fn inline(&mut self, schema: &MetaSchema) -> Node {
        if !schema.all_of.is_empty() {
            return self.all_of(&schema.all_of);
        }
        let arms = if schema.one_of.is_empty() {
            &schema.any_of
        } else {
            &schema.one_of
        };
        if !arms.is_empty() {
            let by = schema.discriminator.as_ref().map(|d| Discriminator {
                property: d.property_name,
                arms: d
                    .mapping
                    .iter()
                    .map(|(value, target)| {
                        (
                            value.clone(),
                            self.named(target.rsplit('/').next().unwrap_or(target)),
                        )
                    })
                    .collect(),
            });
            return Node::Choice {
                arms: arms.iter().map(|a| self.reference(a)).collect(),
                by,
            };
        }
        match schema.ty {
            "string" => Node::Text(text_rule(schema)),
            "integer" => integer(schema),
            "number" => Node::Number {
                min: schema.minimum.unwrap_or(f64::NEG_INFINITY),
                max: schema.maximum.unwrap_or(f64::INFINITY),
            },
            "boolean" => Node::Bool,
            "array" => Node::List {
                item: Box::new(schema.items.as_ref().map_or(Node::Any, |i| self.reference(i))),
                min: schema.min_items.unwrap_or(0),
                max: schema.max_items.unwrap_or(usize::MAX),
            },
            "object" => self.object(schema),
            _ => Node::Any,
        }
    }

    fn object(&mut self, schema: &MetaSchema) -> Node {
        let fields = schema
            .properties
            .iter()
            .filter(|(_, s)| !matches!(s, MetaSchemaRef::Inline(i) if i.read_only));
        let fields = fields
            .map(|(name, s)| Field {
                name,
                required: schema.required.contains(name),
                node: self.reference(s),
            })
            .collect();
        let others = schema
            .additional_properties
            .as_ref()
            .map(|s| Box::new(self.reference(s)));
        if schema.properties.is_empty() && others.is_none() {
            return Node::Any;
        }
        Node::Object(ObjectRule { fields, others })
    }

    /// Parts that all apply: in practice a name with a description beside it, or the discriminator
    /// of a union beside its arm.
    fn all_of(&mut self, parts: &[MetaSchemaRef]) -> Node {
        let mut nodes: Vec<Node> = parts
            .iter()
            .map(|p| self.reference(p))
            .filter(|n| !matches!(n, Node::Any))
            .collect();
        if nodes.len() == 1 {
            return nodes.remove(0);
        }
        let mut whole = ObjectRule::default();
        for part in parts {
            if let Node::Object(rule) = self.flat(part) {
                whole.fields.extend(rule.fields);
                whole.others = whole.others.or(rule.others);
            }
        }
        if whole.fields.is_empty() && whole.others.is_none() {
            Node::Any
        } else {
            Node::Object(whole)
        }
    }

    /// Compiles a part without going through its name, so that its fields can be taken over.
    fn flat(&mut self, part: &MetaSchemaRef) -> Node {
        match part {
            MetaSchemaRef::Reference(name) => match self.registry.schemas.get(name) {
                Some(schema) => self.inline(schema),
                None => Node::Any,
            },
            MetaSchemaRef::Inline(schema) => self.inline(schema),
        }
    }
}

fn text_rule(schema: &MetaSchema) -> TextRule {
    TextRule {
        verbatim: formats::is_verbatim(schema.format),
        controls: formats::takes_controls(schema.format),
        content: schema.format == Some(CONTENT_FORMAT),
        min: schema.min_length.unwrap_or(0),
        max: schema.max_length.unwrap_or(usize::MAX),
        allowed: schema.enum_items.clone(),
        check: schema.format.and_then(formats::check_of),
    }
}

fn integer(schema: &MetaSchema) -> Node {
    let (lowest, highest): (i128, i128) = match schema.format {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64") => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    };
    let bound = |b: Option<f64>, exclusive: Option<bool>, step: i128| {
        b.map(|b| b as i128 + if exclusive == Some(true) { step } else { 0 })
    };
    Node::Integer {
        min: bound(schema.minimum, schema.exclusive_minimum, 1)
            .unwrap_or(lowest)
            .max(lowest),
        max: bound(schema.maximum, schema.exclusive_maximum, -1)
            .unwrap_or(highest)
            .min(highest),
    }
}
