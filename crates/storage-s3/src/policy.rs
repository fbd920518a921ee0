//! The least that the credentials of a store must be allowed, as a policy of AWS and of the servers that read the same.

use crate::{Encryption, Extent, S3Options};
use serde_json::{Value, json};

impl S3Options {
    /// The policy, as JSON. Nothing is asked of the server.
    #[must_use]
    pub fn policy(&self, extent: Extent) -> Value {
        let china = self.endpoint.as_deref().is_some_and(|endpoint| endpoint.contains(".amazonaws.com.cn"));
        let bucket = format!("arn:{}:s3:::{}", if china { "aws-cn" } else { "aws" }, self.bucket);
        let folder = match self.prefix.trim_matches('/') {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let mut statements = vec![self.lists(&bucket, &folder, extent)];
        let mut of_objects = vec!["s3:GetObject"];
        if extent != Extent::Read {
            let of_bucket = ["s3:ListBucketMultipartUploads", "s3:GetBucketVersioning"];
            let made = self.create_bucket.then_some("s3:CreateBucket");
            let actions: Vec<_> = of_bucket.into_iter().chain(made).collect();
            statements.push(json!({"Sid": "LarderBucket", "Effect": "Allow", "Action": actions, "Resource": bucket}));
            of_objects.extend(["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]);
        }
        if extent == Extent::Everything {
            of_objects.extend(["s3:DeleteObject", "s3:DeleteObjectVersion"]);
        }
        let objects = format!("{bucket}/{folder}*");
        statements.push(json!({"Sid": "LarderObjects", "Effect": "Allow", "Action": of_objects, "Resource": objects}));
        if extent == Extent::Create {
            // What is tried out goes again.
            let tried = format!("{bucket}/{folder}.larder/probe/*");
            let delete =
                json!({"Sid": "LarderProbe", "Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": tried});
            statements.push(delete);
        }
        if let Encryption::Kms(Some(key)) = &self.encryption
            && key.starts_with("arn:")
        {
            let actions = ["kms:GenerateDataKey", "kms:Decrypt"];
            statements.push(json!({"Sid": "LarderKey", "Effect": "Allow", "Action": actions, "Resource": key}));
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    /// What lists: below the store's folder only.
    fn lists(&self, bucket: &str, folder: &str, extent: Extent) -> Value {
        let mut actions = vec!["s3:ListBucket"];
        actions.extend((extent == Extent::Everything).then_some("s3:ListBucketVersions"));
        let mut lists = json!({"Sid": "LarderLists", "Effect": "Allow", "Action": actions, "Resource": bucket});
        if !folder.is_empty() {
            lists["Condition"] = json!({"StringLike": {"s3:prefix": [format!("{folder}*")]}});
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Credentials;

    #[test]
    fn a_store_is_allowed_its_folder_and_what_its_mode_does_there() {
        let options = S3Options { prefix: "files/".into(), ..S3Options::new("acme", Credentials::Chain) };
        let policy = options.policy(Extent::Everything);
        assert_eq!(
            policy["Statement"][0],
            json!({"Sid": "LarderLists", "Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
                   "Resource": "arn:aws:s3:::acme", "Condition": {"StringLike": {"s3:prefix": ["files/*"]}}})
        );
        assert_eq!(policy["Statement"][2]["Resource"], "arn:aws:s3:::acme/files/*");
        let tried = &options.policy(Extent::Create)["Statement"][3];
        assert_eq!(tried["Resource"], "arn:aws:s3:::acme/files/.larder/probe/*");
        let allows = |extent, action: &str| {
            let policy = options.policy(extent);
            let statements = policy["Statement"].as_array().into_iter().flatten();
            let mut wide = statements.filter(|statement| statement["Sid"] != "LarderProbe");
            wide.any(|statement| statement["Action"].to_string().contains(&format!("\"{action}\"")))
        };
        for (action, read, create) in [
            ("s3:GetObject", true, true),
            ("s3:ListBucket", true, true),
            ("s3:PutObject", false, true),
            ("s3:AbortMultipartUpload", false, true),
            ("s3:DeleteObject", false, false),
            ("s3:DeleteObjectVersion", false, false),
        ] {
            assert_eq!((allows(Extent::Read, action), allows(Extent::Create, action)), (read, create), "{action}");
            assert!(allows(Extent::Everything, action), "{action}");
        }
        assert!(!allows(Extent::Everything, "s3:CreateBucket") && !policy.to_string().contains("s3:*"));
    }

    #[test]
    fn a_bucket_that_is_made_and_a_key_that_is_named_are_allowed_too() {
        let kms = Encryption::Kms(Some("arn:aws:kms:eu-west-1:1:key/2".into()));
        let options = S3Options { create_bucket: true, encryption: kms, ..S3Options::new("acme", Credentials::Chain) };
        let policy = options.policy(Extent::Everything);
        assert!(policy["Statement"][1]["Action"].to_string().contains("s3:CreateBucket"));
        assert!(policy["Statement"][0].get("Condition").is_none(), "the whole bucket");
        assert_eq!(policy["Statement"][3]["Resource"], "arn:aws:kms:eu-west-1:1:key/2");
    }
}
